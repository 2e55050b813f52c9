package deltafan.connect;

import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * How far the records of the log have been sent: counts those that share a place, writes the count into their offsets, and
 * after a restart drops the ones that were sent before.
 *
 * <p>A place is a transaction ({@code txId}) and a position in the log ({@code lsn}). Within a transaction positions only
 * grow; between transactions they do not, for they come in the order of their commits.
 *
 * <p>It knows records and offsets, and nothing of Debezium's or Connect's life cycle. Used by one thread.
 */
final class Progress {
    /** Our field of an offset: how many records of its place have been sent, this one included. */
    static final String SENT = "deltafan_sent";

    private static final String TRANSACTION = "txId";
    private static final String POSITION = "lsn";
    private static final String PROCESSED = "lsn_proc";
    private static final String COMMITTED = "lsn_commit";
    private static final String SNAPSHOT = "snapshot";
    private static final String SNAPSHOT_COMPLETED = "snapshot_completed";

    /** The stored offset, while records may come that were sent before it was stored; else none. */
    private Map<String, ?> resumed;
    /** The place that the records come from now, and how many of its records have come. */
    private Object transaction;
    private Long position;
    private long count;

    /** @param stored the offset that was stored last; null where there is none, without {@link #SENT} where it is not ours */
    Progress(Map<String, ?> stored) {
        resumed = stored != null && stored.containsKey(SENT) ? stored : null;
    }

    /**
     * The offset that makes Debezium send everything of the transaction that an offset of ours lies in, and nothing before:
     * the end of the last transaction that was sent whole. Debezium takes the first message that comes after a logical
     * message ("MESSAGE") that was committed for the next one to process, without a search that a large transaction
     * would make long. Any other offset comes back as it is.
     */
    static Map<String, Object> resumeFrom(Map<String, Object> stored) {
        if (stored == null || !stored.containsKey(SENT)) {
            return stored;
        }
        Map<String, Object> from = new HashMap<>(stored);
        Long end = end(stored);
        from.put(POSITION, end);
        from.put(PROCESSED, end);
        from.put(COMMITTED, end);
        from.put("messageType", "MESSAGE");
        from.remove("lsn_events_processed");
        from.remove(SENT);
        return from;
    }

    /** Whether an offset is that of a snapshot which was cut off: it begins anew. */
    static boolean isWithinSnapshot(Map<String, Object> stored) {
        return stored != null && stored.containsKey(SNAPSHOT) && !Boolean.TRUE.equals(stored.get(SNAPSHOT_COMPLETED));
    }

    /** The farthest place in the database's log that an offset names; 0 where it names none. */
    static long farthest(Map<String, ?> offset) {
        return Stream.of(POSITION, PROCESSED, COMMITTED).map(field -> lsn(offset, field)).filter(Objects::nonNull)
                .mapToLong(Long::longValue).max().orElse(0);
    }

    /** Whether a record is to be sent: the offset to send it with, or null where it was sent before. */
    Map<String, ?> pass(SourceRecord record) {
        Map<String, ?> offset = record.sourceOffset();
        // Rows of a snapshot are none of the log, and a snapshot that was cut off begins anew.
        if (offset.containsKey(SNAPSHOT) || end(offset) == null || !offset.containsKey(POSITION)) {
            return offset;
        }
        boolean counts = isOfTheLog(record);
        long nth = countOf(offset, counts);
        if (resumed != null) {
            if (counts && wasSent(offset, nth)) {
                return null;
            }
            // A heartbeat must not store that we stand where we have only come by again.
            if (!counts && end(offset).equals(end(resumed))) {
                return resumed;
            }
            resumed = null;
        }
        Map<String, Object> stamped = new HashMap<>(offset);
        stamped.put(SENT, nth);
        return stamped;
    }

    /** Records of the offset's place so far, this one included if it counts. */
    private long countOf(Map<String, ?> offset, boolean counts) {
        boolean same = Objects.equals(offset.get(TRANSACTION), transaction) && lsn(offset, POSITION).equals(position);
        if (!counts) {
            return same ? count : 0;
        }
        transaction = offset.get(TRANSACTION);
        position = lsn(offset, POSITION);
        count = same ? count + 1 : 1;
        return count;
    }

    private boolean wasSent(Map<String, ?> offset, long nth) {
        if (!Objects.equals(offset.get(TRANSACTION), resumed.get(TRANSACTION))) {
            return false;
        }
        int order = Long.compareUnsigned(lsn(offset, POSITION), lsn(resumed, POSITION));
        return order < 0 || order == 0 && nth <= lsn(resumed, SENT);
    }

    /**
     * Whether a record comes again when the log is read again: a change, a tombstone, a logical message. Heartbeats come by
     * the clock, and rows of an incremental snapshot from the table.
     */
    private static boolean isOfTheLog(SourceRecord record) {
        if (!(record.value() instanceof Struct value)) {
            return true;
        }
        return value.schema().field("op") != null && !"r".equals(value.get("op"));
    }

    /** Where the last transaction before an offset ended. Before the first one of a stream any position does in its place. */
    private static Long end(Map<String, ?> offset) {
        Long committed = lsn(offset, COMMITTED);
        return committed != null ? committed : lsn(offset, PROCESSED);
    }

    private static Long lsn(Map<String, ?> offset, String field) {
        return offset.get(field) instanceof Number number ? number.longValue() : null;
    }
}
