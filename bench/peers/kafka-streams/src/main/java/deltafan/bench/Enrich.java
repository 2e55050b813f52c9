package deltafan.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/** Decodes, looks up, hands over to the sinks. */
final class Enrich implements Processor<byte[], byte[], Void, Void> {
  /** A batch that does not fill up waits no longer. */
  private static final Duration PATIENCE = Duration.ofMillis(50);

  private final Contents contents;
  private Sinks sinks;

  Enrich(Contents contents) {
    this.contents = contents;
  }

  @Override
  public void init(ProcessorContext<Void, Void> context) {
    sinks = context.getStateStore(Sinks.NAME);
    context.schedule(PATIENCE, PunctuationType.WALL_CLOCK_TIME, now -> sinks.send());
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    if (record.value() == null) {
      return;
    }
    try {
      var event = Event.read(record.value());
      if (event != null) {
        sinks.add(event, contents.of(event.contentId));
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
