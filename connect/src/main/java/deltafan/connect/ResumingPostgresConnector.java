package deltafan.connect;

import io.debezium.connector.postgresql.PostgresConnector;
import org.apache.kafka.connect.connector.Task;

/**
 * Debezium's Postgres connector with a task that resumes exactly: {@link ResumingPostgresTask}. Everything else
 * (settings, their validation, exactly-once support) is Debezium's.
 */
public final class ResumingPostgresConnector extends PostgresConnector {
    @Override
    public Class<? extends Task> taskClass() {
        return ResumingPostgresTask.class;
    }
}
