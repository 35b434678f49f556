// Collections, streams, direct buffers, compression and many short threads; run from source.
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

class CollectionsProgram {
    static long tables(int seed) {
        Random random = new Random(seed);
        Map<String, List<Integer>> table = new HashMap<>();
        for (int i = 0; i < 100_000; i++)
            table.computeIfAbsent("key" + random.nextInt(5000), k -> new ArrayList<>()).add(i);
        TreeMap<Integer, String> sizes = new TreeMap<>();
        table.forEach((key, list) ->
            sizes.merge(list.size(), key, (a, b) -> a.compareTo(b) < 0 ? a : b));
        return sizes.toString().hashCode();
    }

    // Both ends of zlib and the buffers live outside the collected heap.
    static long packed(int seed) throws Exception {
        byte[] data = new byte[200_000];
        for (int i = 0; i < data.length; i++) data[i] = (byte) (i * seed / 50);
        CRC32 sum = new CRC32();
        for (int round = 0; round < 10; round++) {
            Deflater deflater = new Deflater(round);
            deflater.setInput(data);
            deflater.finish();
            byte[] small = new byte[250_000];
            int length = deflater.deflate(small);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(small, 0, length);
            byte[] back = new byte[data.length];
            inflater.inflate(back);
            inflater.end();
            ByteBuffer direct = ByteBuffer.allocateDirect(300_000 + round);
            direct.put(back).flip();
            sum.update(direct);
        }
        return sum.getValue();
    }

    static int deep(int depth) {
        if (depth == 0) throw new IllegalStateException("bottom");
        return deep(depth - 1) + 1;
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Callable<Long>> tasks = new ArrayList<>();
        for (int i = 1; i <= 8; i++) {
            int seed = i;
            tasks.add(() -> tables(seed));
            tasks.add(() -> packed(seed));
        }
        for (Future<Long> result : pool.invokeAll(tasks)) System.out.println(result.get());
        pool.shutdown();
        List<Thread> threads = new ArrayList<>();
        long[] sums = new long[300];
        for (int i = 0; i < sums.length; i++) {
            int n = i;
            Thread thread = new Thread(() -> sums[n] = IntStream.range(0, n * 10).sum());
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) thread.join();
        System.out.println(IntStream.range(0, sums.length).mapToLong(i -> sums[i]).sum());
        System.out.println(IntStream.range(0, 50_000).parallel().mapToObj(i -> "w" + i * 7919 % 503)
            .collect(Collectors.groupingBy(w -> w, TreeMap::new, Collectors.counting()))
            .hashCode());
        try {
            deep(500);
        } catch (IllegalStateException error) {
            System.out.println(error.getMessage() + " " + error.getStackTrace().length / 100);
        }
        try {
            System.out.println(new long[Integer.MAX_VALUE - 8].length);
        } catch (OutOfMemoryError error) {
            System.out.println("refused");
        }
    }
}
