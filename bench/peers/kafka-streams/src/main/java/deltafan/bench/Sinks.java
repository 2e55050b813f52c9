package deltafan.bench;

import com.fasterxml.jackson.core.JsonGenerator;
import deltafan.bench.Contents.Content;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.internals.CacheFlushListener;
import org.apache.kafka.streams.state.internals.CachedStateStore;
import redis.clients.jedis.Jedis;

/**
 * Both sinks of a task. It is a cached store in the eyes of Kafka Streams, because those alone are flushed before offsets are
 * committed: so nothing is committed that has not been delivered (at least once, into both sinks).
 */
final class Sinks implements StateStore, CachedStateStore<Object, Object> {
  static final String NAME = "sinks";

  /** Events of one POST and one pipeline. */
  private static final int BATCH = 2000;
  /** POSTs under way, so that the next batch is decoded meanwhile. */
  private static final int IN_FLIGHT = 4;
  /** A window's minutes are kept for so long. */
  private static final long KEEP_SECONDS = 7200;
  private static final int MINUTE = "2026-11-21T03:00".length();
  private static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private static final URI WEBHOOK = URI.create(System.getenv("WEBHOOK_URL"));

  private final String board;
  private final Jedis redis = new Jedis(URI.create(System.getenv("REDIS_URL")));
  private final Map<String, Map<String, long[]>> scores = new HashMap<>();
  private final ArrayDeque<CompletableFuture<HttpResponse<Void>>> posts = new ArrayDeque<>();
  private ByteArrayOutputStream body = new ByteArrayOutputStream();
  private JsonGenerator json;
  private int events;
  private boolean open;

  private Sinks(String board) {
    this.board = board;
  }

  void add(Event event, Content content) throws IOException {
    if (events == 0) {
      body = new ByteArrayOutputStream(body.size() + 1024);
      json = Event.JSON.createGenerator(body);
      json.writeStartArray();
    }
    event.write(json, content);
    if (event.contentId != null) {
      scores
          .computeIfAbsent(event.at.substring(0, MINUTE), minute -> new HashMap<>())
          .computeIfAbsent(event.contentId, id -> new long[1])[0] += event.durationMs;
    }
    if (++events == BATCH) {
      send();
    }
  }

  /** What was collected goes out: the POST meanwhile, the pipeline at once. */
  void send() {
    if (events == 0) {
      return;
    }
    try {
      json.writeEndArray();
      json.close();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    var request = HttpRequest.newBuilder(WEBHOOK).header("content-type", "application/json").POST(BodyPublishers.ofByteArray(body.toByteArray()));
    posts.add(HTTP.sendAsync(request.build(), BodyHandlers.discarding()));
    try (var pipeline = redis.pipelined()) {
      scores.forEach((minute, contents) -> {
        var key = board + ":" + minute;
        contents.forEach((content, ms) -> pipeline.zincrby(key, ms[0], content));
        pipeline.expire(key, KEEP_SECONDS);
      });
      pipeline.syncAndReturnAll().forEach(answer -> {
        if (answer instanceof RuntimeException error) {
          throw error;
        }
      });
    }
    scores.clear();
    events = 0;
    while (posts.size() >= IN_FLIGHT) {
      answered();
    }
  }

  private void answered() {
    var status = posts.remove().join().statusCode();
    if (status / 100 != 2) {
      throw new IllegalStateException("the webhook answers " + status);
    }
  }

  @Override
  public void flushCache() {
    send();
    while (!posts.isEmpty()) {
      answered();
    }
  }

  @Override
  public void flush() {
    flushCache();
  }

  @Override
  public void clearCache() {
    throw new IllegalStateException("what was sent can't be taken back");
  }

  @Override
  public boolean setFlushListener(CacheFlushListener<Object, Object> listener, boolean sendOldValues) {
    return false;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public void init(StateStoreContext context, StateStore root) {
    context.register(root, (key, value) -> {});
    open = true;
  }

  @Override
  public void close() {
    redis.close();
    open = false;
  }

  @Override
  public boolean persistent() {
    return false;
  }

  @Override
  public boolean isOpen() {
    return open;
  }

  static StoreBuilder<Sinks> builder(String board) {
    return new StoreBuilder<>() {
      @Override
      public StoreBuilder<Sinks> withCachingEnabled() {
        return this;
      }

      @Override
      public StoreBuilder<Sinks> withCachingDisabled() {
        return this;
      }

      @Override
      public StoreBuilder<Sinks> withLoggingEnabled(Map<String, String> config) {
        return this;
      }

      @Override
      public StoreBuilder<Sinks> withLoggingDisabled() {
        return this;
      }

      @Override
      public Sinks build() {
        return new Sinks(board);
      }

      @Override
      public Map<String, String> logConfig() {
        return Map.of();
      }

      @Override
      public boolean loggingEnabled() {
        return false;
      }

      @Override
      public String name() {
        return NAME;
      }
    };
  }
}
