package deltafan.connect;

import io.debezium.config.Configuration;
import io.debezium.connector.postgresql.PostgresConnectorConfig;
import io.debezium.connector.postgresql.PostgresConnectorTask;
import io.debezium.connector.postgresql.PostgresOffsetContext;
import io.debezium.connector.postgresql.PostgresPartition;
import io.debezium.pipeline.ChangeEventSourceCoordinator;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.metrics.PluginMetrics;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.source.TransactionContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Debezium's task, made to resume at the record behind the last one that was sent, wherever that was.
 *
 * <p>Why: several records can share one place in the log (the rows that a COPY puts on one page; the delete, tombstone and
 * create of a changed key), and Connect may stop between any two of them. Debezium resumes by place, and skips what is left
 * of a place of which one message had been sent. So here Debezium is always told to resume where the last transaction ended
 * that was sent whole. It then sends the transaction behind it once more from its beginning, and {@link Progress} drops
 * what of it had been sent.
 *
 * <p>What it rests on:
 * <ul>
 *   <li>Postgres sends transactions one after the other, in the order of their commits, and sends one again exactly as the
 *       first time while the slot has not confirmed its commit. What Debezium confirms is {@code lsn_commit} of a stored
 *       offset, which is where we resume; never more.
 *   <li>Debezium makes of a transaction the same records each time, in the same order.
 *   <li>An offset is stored together with its records, in one transaction of Kafka ({@code exactly.once.support}).
 * </ul>
 *
 * <p>An offset beyond the end of the database's log is one of a former life: the database was set back, and Debezium would
 * wait, and leave out what comes, until the log is there again. Such an offset counts as none, and that is said.
 *
 * <p>Offsets are Debezium's own with one more field, {@value Progress#SENT}. Debezium without this class ignores it, and
 * an offset without it is resumed as Debezium does: either can follow the other.
 */
public final class ResumingPostgresTask extends PostgresConnectorTask {
    private static final Logger LOGGER = LoggerFactory.getLogger(ResumingPostgresTask.class);

    /** How often at most Postgres is told what it need not keep any more. */
    private static final long CONFIRM_EVERY_NANOS = TimeUnit.MILLISECONDS.toNanos(200);

    /** So late in a millisecond that a wait until then and one of a whole one, each of which takes 0.1 ms longer, end behind the next. */
    private static final long WHOLE_MILLISECOND_NANOS = 750_000;

    private Reader reader;
    private Progress progress;
    /** Whether something was stored in Kafka that Postgres has not been told of. */
    private volatile boolean unconfirmed;
    private long confirmedNanos = System.nanoTime();

    @Override
    public void initialize(SourceTaskContext context) {
        reader = new Reader(context.offsetStorageReader());
        super.initialize(new Context(context, reader));
    }

    /** Also called by {@link SourceTask#poll} itself, to start again after an error that passes. */
    @Override
    public ChangeEventSourceCoordinator<PostgresPartition, PostgresOffsetContext> start(Configuration config) {
        reader.begin(new PostgresConnectorConfig(config));
        var coordinator = super.start(config);
        reader.unasked = null;
        // Before the first poll, and in its thread: nothing has come through yet.
        progress = new Progress(reader.last);
        LOGGER.info("Resuming behind {}", reader.last);
        return coordinator;
    }

    @Override
    public List<SourceRecord> doPoll() throws InterruptedException {
        awaitEndOfMillisecond();
        List<SourceRecord> records = super.doPoll();
        List<SourceRecord> fresh = new ArrayList<>(records.size());
        for (SourceRecord record : records) {
            Map<String, ?> offset = progress.pass(record);
            if (offset != null) {
                fresh.add(offset == record.sourceOffset() ? record : at(offset, record));
            }
        }
        return fresh;
    }

    /**
     * Debezium's poll waits for {@code poll.interval.ms} by a clock of whole milliseconds, and spins for what is left of the
     * last one. Begun at the end of a millisecond, its wait ends in the one behind its last, so that nothing is left: with
     * an interval of 1 ms both take 2, without half a core for nothing.
     */
    private static void awaitEndOfMillisecond() {
        long rest = WHOLE_MILLISECOND_NANOS - Instant.now().getNano() % 1_000_000;
        if (rest > 0) {
            LockSupport.parkNanos(rest);
        }
    }

    @Override
    public void commitRecord(SourceRecord record, RecordMetadata metadata) throws InterruptedException {
        super.commitRecord(record, metadata);
        unconfirmed = true;
    }

    /**
     * Connect calls this after each poll, also where that brought nothing, so once a millisecond. Each time Debezium would
     * read the topic of offsets to its end and wait until Postgres was told, before it polls again: most of what an idle
     * connector did, and a part of each record's way. What is told later than it could be is kept by Postgres for so long; what could not be
     * told is told with the next heartbeat.
     */
    @Override
    public void commit() throws InterruptedException {
        long now = System.nanoTime();
        if (unconfirmed && now - confirmedNanos >= CONFIRM_EVERY_NANOS) {
            unconfirmed = false;
            confirmedNanos = now;
            super.commit();
        }
    }

    private static SourceRecord at(Map<String, ?> offset, SourceRecord record) {
        return new SourceRecord(record.sourcePartition(), offset, record.topic(), record.kafkaPartition(),
                record.keySchema(), record.key(), record.valueSchema(), record.value(), record.timestamp(),
                record.headers());
    }

    /** Gives Debezium the offset to resume from for the one that is stored; it asks at each start, and to confirm. */
    private static final class Reader implements OffsetStorageReader {
        private final OffsetStorageReader stored;
        /** What was stored when it was last asked for; none where nothing was. There is one partition, the database. */
        private Map<String, Object> last;
        /** How to ask the database for the end of its log, while a start has not done so. */
        private PostgresConnectorConfig unasked;
        /** The offset of a former life of the database; none where there was none. It stays stored until the next one is. */
        private Map<String, Object> outlived;

        Reader(OffsetStorageReader stored) {
            this.stored = stored;
        }

        void begin(PostgresConnectorConfig config) {
            last = null;
            unasked = config;
            outlived = null;
        }

        @Override
        public <T> Map<String, Object> offset(Map<String, T> partition) {
            return offsets(List.of(partition)).get(partition);
        }

        @Override
        public <T> Map<Map<String, T>, Map<String, Object>> offsets(Collection<Map<String, T>> partitions) {
            Map<Map<String, T>, Map<String, Object>> answer = new HashMap<>(stored.offsets(partitions));
            // Nothing of the stream has been sent yet: the next snapshot and the stream behind it begin as if for the first time.
            answer.values().removeIf(Progress::isWithinSnapshot);
            answer.values().removeIf(this::isOutlived);
            answer.replaceAll((partition, offset) -> {
                last = offset;
                return Progress.resumeFrom(offset);
            });
            return answer;
        }

        /** Also when Debezium asks what to confirm: an end that the log has not come to yet would be confirmed for good. */
        private boolean isOutlived(Map<String, Object> offset) {
            if (offset == null) {
                return false;
            }
            if (unasked != null) {
                long end = WalEnd.ask(unasked);
                if (Progress.farthest(offset) > end) {
                    LOGGER.error("The database was set back to an earlier time, or is another one: its log ends at {}, and what was sent "
                            + "last stands at {}. That offset is given up: contents are read anew, and the stream begins where slot {} "
                            + "stands. What the former life had beyond that stays in the topics and with receivers; leaderboards are "
                            + "made anew from the table",
                            WalEnd.text(end), WalEnd.text(Progress.farthest(offset)), unasked.slotName());
                    outlived = offset;
                }
                unasked = null;
            }
            return offset.equals(outlived);
        }
    }

    /** Connect's context with our reader of offsets. */
    private record Context(SourceTaskContext connect, OffsetStorageReader offsetStorageReader) implements SourceTaskContext {
        @Override
        public Map<String, String> configs() {
            return connect.configs();
        }

        @Override
        public TransactionContext transactionContext() {
            return connect.transactionContext();
        }

        @Override
        public PluginMetrics pluginMetrics() {
            return connect.pluginMetrics();
        }
    }
}
