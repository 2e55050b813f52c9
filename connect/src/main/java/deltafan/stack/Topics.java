package deltafan.stack;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/**
 * Brings the broker's topics to what a file states: makes the missing ones, repairs settings that drifted, and refuses
 * to change a partition count (that would move keys to other partitions). One JVM for all topics, because the ordinary
 * tool takes one start per topic.
 *
 * <p>Usage: {@code Topics BROKERS FILE}. A line of the file is {@code name partitions key=value…}; {@code #} comments.
 */
public final class Topics {
    private static final short REPLICATION = 1;
    private static final int REQUEST_TIMEOUT_MS = 30_000;
    private static final int LOOK_MS = 50;

    private record Wanted(String name, int partitions, Map<String, String> settings) {}

    private Topics() {}

    public static void main(String[] args) throws Exception {
        if (args.length != 2) {
            System.err.println("usage: Topics BROKERS FILE");
            System.exit(2);
        }
        Properties properties = new Properties();
        properties.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        properties.put(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, REQUEST_TIMEOUT_MS);
        properties.put(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, REQUEST_TIMEOUT_MS);
        Map<String, Wanted> wanted = parse(Path.of(args[1]));
        try (Admin admin = Admin.create(properties)) {
            List<String> made = create(admin, wanted.values());
            for (String name : made) {
                System.out.println("made topic " + name);
                // It is as stated, and the broker may not know it yet: the controller has answered.
                wanted.remove(name);
            }
            awaitKnown(admin, wanted.keySet());
            if (!samePartitions(admin, wanted)) {
                System.exit(1);
            }
            repair(admin, wanted);
        }
    }

    private static Map<String, Wanted> parse(Path file) throws Exception {
        Map<String, Wanted> wanted = new LinkedHashMap<>();
        for (String line : Files.readAllLines(file)) {
            String stated = line.replaceFirst("#.*", "").trim();
            if (stated.isEmpty()) {
                continue;
            }
            String[] words = stated.split("\\s+");
            Map<String, String> settings = new TreeMap<>();
            for (int i = 2; i < words.length; i++) {
                String[] pair = words[i].split("=", 2);
                settings.put(pair[0], pair[1]);
            }
            wanted.put(words[0], new Wanted(words[0], Integer.parseInt(words[1]), settings));
        }
        return wanted;
    }

    /** Creating says which exist, so one round trip makes what is missing, whoever else makes topics meanwhile. */
    private static List<String> create(Admin admin, Collection<Wanted> wanted) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (Wanted topic : wanted) {
            topics.add(new NewTopic(topic.name(), Optional.of(topic.partitions()), Optional.of(REPLICATION))
                    .configs(topic.settings()));
        }
        List<String> made = new ArrayList<>();
        for (var answer : admin.createTopics(topics).values().entrySet()) {
            try {
                answer.getValue().get();
                made.add(answer.getKey());
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof TopicExistsException)) {
                    throw e;
                }
            }
        }
        return made;
    }

    /** Somebody else may have made them a moment ago, and then the broker learns of them from the controller. */
    private static void awaitKnown(Admin admin, Collection<String> names) throws Exception {
        long deadline = System.nanoTime() + Duration.ofMillis(REQUEST_TIMEOUT_MS).toNanos();
        while (true) {
            try {
                admin.describeTopics(names).allTopicNames().get();
                return;
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof UnknownTopicOrPartitionException) || System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(LOOK_MS);
            }
        }
    }

    private static boolean samePartitions(Admin admin, Map<String, Wanted> wanted) throws Exception {
        boolean same = true;
        for (TopicDescription found : admin.describeTopics(wanted.keySet()).allTopicNames().get().values()) {
            int stated = wanted.get(found.name()).partitions();
            if (found.partitions().size() != stated) {
                System.err.printf("topic %s has %d partitions where %d are stated; changing the count moves keys to other"
                        + " partitions, so it is left alone: state %d, or delete the topic%n",
                        found.name(), found.partitions().size(), stated, found.partitions().size());
                same = false;
            }
        }
        return same;
    }

    private static void repair(Admin admin, Map<String, Wanted> wanted) throws Exception {
        List<ConfigResource> resources = new ArrayList<>();
        for (String name : wanted.keySet()) {
            resources.add(new ConfigResource(ConfigResource.Type.TOPIC, name));
        }
        Map<ConfigResource, Collection<AlterConfigOp>> changes = new HashMap<>();
        for (Map.Entry<ConfigResource, Config> found : admin.describeConfigs(resources).all().get().entrySet()) {
            for (Map.Entry<String, String> setting : wanted.get(found.getKey().name()).settings().entrySet()) {
                ConfigEntry has = found.getValue().get(setting.getKey());
                if (has == null || !setting.getValue().equals(has.value())) {
                    System.out.printf("topic %s: %s was %s, is now %s%n", found.getKey().name(), setting.getKey(),
                            has == null ? "unset" : has.value(), setting.getValue());
                    changes.computeIfAbsent(found.getKey(), key -> new ArrayList<>()).add(new AlterConfigOp(
                            new ConfigEntry(setting.getKey(), setting.getValue()), AlterConfigOp.OpType.SET));
                }
            }
        }
        if (!changes.isEmpty()) {
            admin.incrementalAlterConfigs(changes).all().get();
        }
    }
}
