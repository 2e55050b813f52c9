package deltafan.connect;

import io.debezium.bean.StandardBeanNames;
import io.debezium.pipeline.spi.Offsets;
import io.debezium.snapshot.mode.InitialSnapshotter;

/**
 * Debezium's first snapshot, after which the stream begins where the slot stands.
 *
 * <p>Why: where a connector's offsets are gone and its slot is still there, Debezium's own {@code initial} takes its
 * snapshot and streams from where the database stands then. What had committed between the slot's position and that
 * moment, in tables that are not part of the snapshot, would never come. From the slot's position all of it comes; what
 * had been sent before comes again, under the same event ids and places. A slot that is made for the snapshot begins
 * with it either way. A connector with offsets resumes by them, as ever.
 *
 * <p>Used by {@code snapshot.mode=custom} and {@code snapshot.mode.custom.name=initial_from_slot}.
 */
public final class InitialFromSlotSnapshotter extends InitialSnapshotter {
    @Override
    public String name() {
        return "initial_from_slot";
    }

    /** Debezium takes a no for "from the slot"; and where there are offsets, for a wish to take another snapshot. */
    @Override
    public boolean shouldStreamEventsStartingFromSnapshot() {
        return beanRegistry.lookupByName(StandardBeanNames.OFFSETS, Offsets.class).getTheOnlyOffset() != null;
    }
}
