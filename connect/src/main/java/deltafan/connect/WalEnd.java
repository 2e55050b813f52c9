package deltafan.connect;

import io.debezium.connector.postgresql.PostgresConnectorConfig;
import io.debezium.connector.postgresql.connection.PostgresConnection;
import java.sql.SQLException;
import org.apache.kafka.connect.errors.RetriableException;

/**
 * Where the database's log ends. Nothing is sent that has not been written there before, so what was sent beyond it was sent
 * by a former life of the database.
 */
final class WalEnd {
    /** A standby says nothing of that: it may be behind the one that was read before, and come to it. */
    private static final String QUERY = "SELECT CASE WHEN pg_is_in_recovery() THEN " + Long.MAX_VALUE
            + " ELSE (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint END";

    private WalEnd() {
    }

    /** Asks the database; where it does not answer, the task is to be started again later. */
    static long ask(PostgresConnectorConfig config) {
        try (var connection = new PostgresConnection(config.getJdbcConfig(), "Deltafan WAL end")) {
            return connection.queryAndMap(QUERY, rows -> {
                rows.next();
                return rows.getLong(1);
            });
        } catch (SQLException e) {
            throw new RetriableException("The database can't be asked where its log ends", e);
        }
    }

    /** A place in the log as Postgres writes it. */
    static String text(long place) {
        return String.format("%X/%X", place >>> 32, place & 0xffff_ffffL);
    }
}
