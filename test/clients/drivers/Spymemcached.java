// spymemcached as an application's cache: Spymemcached.java HOST PORT PREFIX NAME text|binary
//
// It keeps in mind what it wrote, and compares every answer with that. Runs until stdin ends, then prints what it counted
// as JSON. Values are byte arrays: spymemcached marks them by flags of its own, and compresses the longer ones.
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import net.spy.memcached.CASResponse;
import net.spy.memcached.CASValue;
import net.spy.memcached.ConnectionFactoryBuilder;
import net.spy.memcached.MemcachedClient;

public class Spymemcached {
  static final Random RANDOM = new Random();
  /** Of the CAS numbers so many may be refused, because the authority moved. */
  static final int MOVES = 3;
  static final int LIFE = 3600;

  final MemcachedClient cache;
  final boolean isBinary;
  final String prefix;
  final String name;
  final Map<String, byte[]> values = new HashMap<>();
  long operations = 0;
  long failures = 0;
  String first = null;
  long incremented = 0;
  long guarded = 0;
  long round = 0;
  long number = -1;
  int moved = 0;

  Spymemcached(String host, int port, String prefix, String name, boolean isBinary) throws Exception {
    this.prefix = prefix;
    this.name = name;
    this.isBinary = isBinary;
    ConnectionFactoryBuilder builder = new ConnectionFactoryBuilder();
    builder.setProtocol(isBinary ? ConnectionFactoryBuilder.Protocol.BINARY : ConnectionFactoryBuilder.Protocol.TEXT);
    builder.setOpTimeout(20_000);
    builder.setUseNagleAlgorithm(false);
    cache = new MemcachedClient(builder.build(), List.of(new InetSocketAddress(host, port)));
  }

  void wrong(String what) {
    failures++;
    if (first == null) first = "round " + round + ": " + what;
  }

  static String told(Object value) {
    if (value instanceof byte[]) return ((byte[]) value).length + " bytes";
    return value == null || value instanceof Boolean || value instanceof Number ? String.valueOf(value) : "a value";
  }

  void same(String what, Object got, Object expected) {
    operations++;
    boolean equal = got instanceof byte[] && expected instanceof byte[]
        ? Arrays.equals((byte[]) got, (byte[]) expected)
        : Objects.equals(got, expected);
    if (!equal) wrong(what + ": " + told(got) + " instead of " + told(expected));
  }

  static <T> T of(Future<T> future) throws Exception {
    return future.get(20, TimeUnit.SECONDS);
  }

  /** Any bytes, a line end to trip over among them; some so long that the client compresses them. */
  static byte[] fresh() {
    int[] sizes = {0, 1, 20, 500, 5000, 40_000};
    byte[] value = new byte[sizes[RANDOM.nextInt(sizes.length)] + 7];
    RANDOM.nextBytes(value);
    if (value.length > 30_000) Arrays.fill(value, (byte) 'x');
    System.arraycopy("\r\nEND\r\n".getBytes(), 0, value, value.length - 7, 7);
    return value;
  }

  byte[] joined(byte[] one, byte[] other) {
    byte[] both = Arrays.copyOf(one, one.length + other.length);
    System.arraycopy(other, 0, both, one.length, other.length);
    return both;
  }

  void play() throws Exception {
    String key = prefix + name + "-" + RANDOM.nextInt(8);
    boolean known = values.containsKey(key);
    byte[] value = fresh();
    switch (RANDOM.nextInt(15)) {
      case 0, 1 -> {
        same("set", of(cache.set(key, LIFE, value)), true);
        values.put(key, value);
      }
      case 2, 3 -> same("get", cache.get(key), values.get(key));
      case 4 -> {
        same("add", of(cache.add(key, LIFE, value)), !known);
        values.putIfAbsent(key, value);
      }
      case 5 -> {
        same("replace", of(cache.replace(key, LIFE, value)), known);
        if (known) values.put(key, value);
      }
      case 6 -> extend(key, known);
      case 7 -> {
        same("delete", of(cache.delete(key)), known);
        values.remove(key);
      }
      case 8 -> same("touch", of(cache.touch(key, 2 * LIFE)), known);
      case 9 -> many();
      case 10 -> swap(key, known, value);
      case 11 -> count();
      case 12 -> {
        // Only the binary protocol of this client knows it.
        if (isBinary) {
          CASValue<Object> found = cache.getAndTouch(key, 2 * LIFE);
          same("getAndTouch", found == null ? null : found.getValue(), values.get(key));
        }
      }
      case 13 -> {
        byte[] aside = String.valueOf(round).getBytes();
        of(cache.set("aside-" + name, 0, aside));
        same("get aside", cache.get("aside-" + name), aside);
      }
      default -> guard();
    }
  }

  /** What is compressed cannot be extended. */
  void extend(String key, boolean known) throws Exception {
    byte[] had = values.get(key);
    if (known && had.length > 12_000) return;
    byte[] more = "more".getBytes();
    boolean isAppend = RANDOM.nextBoolean();
    same("append", of(isAppend ? cache.append(key, more) : cache.prepend(key, more)), known);
    if (known) values.put(key, isAppend ? joined(had, more) : joined(more, had));
  }

  void many() throws Exception {
    List<String> keys = new ArrayList<>();
    for (int n = 0; n < 8; n++) keys.add(prefix + name + "-" + n);
    Map<String, Object> found = cache.getBulk(keys);
    same("how many of getBulk", found.size(), values.size());
    for (String key : keys) same("getBulk", found.get(key), values.get(key));
    List<Future<Boolean>> sets = new ArrayList<>();
    for (int n = 0; n < 4; n++) {
      byte[] value = fresh();
      values.put(keys.get(n), value);
      sets.add(cache.set(keys.get(n), LIFE, value));
    }
    for (Future<Boolean> set : sets) same("sets together", of(set), true);
    Collections.shuffle(keys, RANDOM);
    same("get after sets", cache.get(keys.get(0)), values.get(keys.get(0)));
  }

  void swap(String key, boolean known, byte[] value) throws Exception {
    CASValue<Object> found = cache.gets(key);
    same("gets", found == null ? null : found.getValue(), values.get(key));
    if (!known || found == null) return;
    CASResponse done = cache.cas(key, found.getCas(), LIFE, value);
    if (done != CASResponse.OK && moved < MOVES) {
      // The authority moved between the two: the change is refused, and a new number has to be asked for.
      moved++;
      found = cache.gets(key);
      same("gets after a refused cas", found.getValue(), values.get(key));
      done = cache.cas(key, found.getCas(), LIFE, value);
    }
    same("cas", done == CASResponse.OK, true);
    values.put(key, value);
    if (cache.cas(key, found.getCas(), LIFE, "stale".getBytes()) == CASResponse.OK) {
      wrong("cas with a token that is used up was carried out");
    }
  }

  void count() throws Exception {
    String own = prefix + name + "-number";
    if (number < 0) {
      number = 100;
      of(cache.set(own, LIFE, "100"));
    }
    same("incr", cache.incr(own, 7), number += 7);
    same("decr", cache.decr(own, 3), number -= 3);
    if (cache.incr(prefix + "shared.counter", 1) < 0) wrong("a shared counter is gone");
    else incremented++;
  }

  void guard() throws Exception {
    String lock = prefix + "shared.lock";
    String what = prefix + "shared.guarded";
    if (!of(cache.add(lock, 60, name))) return;
    long before = Long.parseLong((String) cache.get(what));
    Thread.sleep(1);
    of(cache.set(what, 0, String.valueOf(before + 1)));
    guarded++;
    same("unlock", of(cache.delete(lock)), true);
  }

  public static void main(String[] words) throws Exception {
    Thread ended = new Thread(() -> {
      try {
        while (System.in.read() >= 0) continue;
      } catch (Exception error) {
        // Then it has ended, too.
      }
    });
    ended.setDaemon(true);
    ended.start();
    boolean isBinary = words[4].equals("binary");
    Spymemcached driver =
        new Spymemcached(words[0], Integer.parseInt(words[1]), words[2], words[3], isBinary);
    for (String what : List.of("counter", "guarded")) of(driver.cache.add(driver.prefix + "shared." + what, 0, "0"));
    boolean going = false;
    while (ended.isAlive()) {
      driver.round++;
      if (driver.operations >= 20 && !going) {
        going = true;
        System.out.println("going");
      }
      Thread.sleep(5);
      try {
        driver.play();
      } catch (Exception error) {
        driver.wrong(error.getClass().getSimpleName());
        Thread.sleep(50);
      }
    }
    driver.cache.shutdown();
    String first = driver.first == null ? "null" : "\"" + driver.first.replaceAll("[^\\w :,.-]", "*") + "\"";
    System.out.println(String.format(
        "{\"client\":\"spymemcached %s\",\"operations\":%d,\"failures\":%d,\"first\":%s,\"incremented\":%d,\"guarded\":%d,\"loggedIn\":%d}",
        words[4], driver.operations, driver.failures, first, driver.incremented, driver.guarded, driver.values.size()));
    System.exit(0);
  }
}
