package deltafan.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/**
 * Enriches events and carries them to Redis and to a webhook with Kafka Streams. Each line of its input, "TOPIC GROUP BOARD",
 * ends what it did and begins anew with that topic, so that the same virtual machine can be measured cold and warm.
 */
public final class Peer {
  private Peer() {}

  public static void main(String[] arguments) throws IOException {
    var lines = new BufferedReader(new InputStreamReader(System.in));
    var contents = new Contents(System.getenv("POSTGRES_URL"));
    KafkaStreams streams = null;
    for (String line; (line = lines.readLine()) != null; ) {
      var words = line.split(" ");
      if (streams != null) {
        streams.close();
      }
      streams = new KafkaStreams(topology(words[0], words[2], contents), settings(words[1]));
      streams.setUncaughtExceptionHandler(error -> {
        error.printStackTrace();
        return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
      });
      streams.start();
    }
  }

  private static Topology topology(String topic, String board, Contents contents) {
    return new Topology()
        .addSource("events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic)
        .addProcessor("enrich", () -> new Enrich(contents), "events")
        .addStateStore(Sinks.builder(board), "enrich");
  }

  private static Properties settings(String group) {
    var settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, group);
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("KAFKA_BROKERS"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("STATE_DIR"));
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, System.getenv("THREADS"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
    // Both sinks are flushed at a commit: often enough that little is sent again after a crash, seldom enough to cost nothing.
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
    // Large fetches and polls: the defaults are made for latency and little memory.
    settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 * 1024 * 1024);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.RECEIVE_BUFFER_CONFIG), 1024 * 1024);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.ISOLATION_LEVEL_CONFIG), "read_committed");
    return settings;
  }
}
