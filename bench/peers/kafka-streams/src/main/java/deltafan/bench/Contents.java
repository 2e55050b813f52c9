package deltafan.bench;

import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.LoadingCache;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.UUID;

/** The rows of `content`, asked for once and kept for ten minutes. */
final class Contents {
  record Content(String type, String title, Integer lengthSeconds) {}

  private static final String QUERY = "SELECT content_type, title, length_seconds FROM content WHERE id = ?";
  private static final int MOST = 1_000_000;

  private final Connection connection;
  private final LoadingCache<String, Content> cache =
      Caffeine.newBuilder().maximumSize(MOST).expireAfterWrite(Duration.ofMinutes(10)).build(this::ask);

  Contents(String url) {
    var uri = URI.create(url);
    var account = uri.getUserInfo().split(":", 2);
    try {
      connection = DriverManager.getConnection("jdbc:postgresql://" + uri.getAuthority().split("@")[1] + uri.getPath(), account[0], account[1]);
    } catch (SQLException error) {
      throw new IllegalStateException(error);
    }
  }

  /** Null where there is no such content. */
  Content of(String id) {
    return id == null ? null : cache.get(id);
  }

  private synchronized Content ask(String id) throws SQLException {
    try (var statement = connection.prepareStatement(QUERY)) {
      statement.setObject(1, UUID.fromString(id));
      try (var rows = statement.executeQuery()) {
        return rows.next() ? new Content(rows.getString(1), rows.getString(2), rows.getObject(3, Integer.class)) : null;
      }
    }
  }
}
