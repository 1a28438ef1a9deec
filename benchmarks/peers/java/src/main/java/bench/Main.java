package bench;

import java.util.concurrent.CountDownLatch;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** One application of Kafka Streams by its name, run until SIGTERM: `java -jar peers.jar NAME option=value …` (see Run). */
public final class Main {
    private static final long PARENT_LOOK_MS = 2000;

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Run run = new Run(arguments);
        Topology topology = switch (run.application) {
            case "transform" -> Transform.topology(run);
            case "windows" -> Windows.topology(run);
            case "crayfish" -> Crayfish.topology(run);
            default -> throw new IllegalArgumentException("no application " + run.application + ": transform, windows or crayfish");
        };
        KafkaStreams streams = new KafkaStreams(topology, run.properties());
        CountDownLatch failed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        endWithParent();
        streams.start();
        failed.await();
        Runtime.getRuntime().halt(1);
    }

    /** A harness that was killed cannot end what it started. */
    private static void endWithParent() {
        ProcessHandle parent = ProcessHandle.current().parent().orElseThrow();
        Thread watch = new Thread(() -> {
            try {
                while (parent.isAlive()) Thread.sleep(PARENT_LOOK_MS);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(1);
        });
        watch.setDaemon(true);
        watch.start();
    }
}
