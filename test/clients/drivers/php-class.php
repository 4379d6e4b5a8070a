<?php
// PHP's Memcached class as an application's cache: `php php-class.php HOST PORT PREFIX NAME binary|text`. It keeps in
// mind what it wrote, and compares every answer with that. Runs until stdin ends, then prints what it counted as JSON.
[, $host, $port, $prefix, $name, $mode] = $argv;
$operations = 0; $failures = 0; $first = null; $incremented = 0; $guarded = 0; $round = 0; $going = false;
function wrong(string $what): void {
    global $failures, $first, $round;
    $failures++;
    $first ??= "round $round: $what";
}
function told(mixed $value): string {
    return $value === false ? 'nothing' : strlen(serialize($value)) . ' bytes';
}
/** Compares, and tells the code of the client's own error with a difference. */
function same(string $what, mixed $got, mixed $expected, Memcached $client): void {
    global $operations;
    $operations++;
    if ($got !== $expected) {
        $told = is_bool($got) && is_bool($expected) ? var_export($got, true) : told($got) . ' instead of ' . told($expected);
        wrong("$what: $told (" . $client->getResultMessage() . ')');
    }
}
function connect(bool $compress): Memcached {
    global $host, $port, $mode;
    $client = new Memcached();
    $client->setOptions([
        Memcached::OPT_BINARY_PROTOCOL => $mode === 'binary', Memcached::OPT_COMPRESSION => $compress,
        Memcached::OPT_RECV_TIMEOUT => 20_000_000, Memcached::OPT_POLL_TIMEOUT => 20_000, Memcached::OPT_CONNECT_TIMEOUT => 20_000,
        Memcached::OPT_TCP_NODELAY => true,
    ]);
    $client->addServer($host, (int) $port);
    return $client;
}
$cache = connect(true);
$raw = connect(false);
$values = []; $texts = []; $number = null; $moved = 0;
$key = fn (string $kind, int $n = 0) => "$prefix$name-$kind$n";
$lock = "{$prefix}shared.lock"; $counter = "{$prefix}shared.counter"; $count = "{$prefix}shared.guarded";
$raw->add($counter, '0'); $raw->add($count, '0');

stream_set_blocking(STDIN, false);
while (true) {
    $round++;
    if ($operations >= 20 && !$going) { $going = true; fwrite(STDOUT, "going\n"); }
    if (fgets(STDIN) === false && feof(STDIN)) break;
    usleep(5_000);
    $n = mt_rand(0, 7);
    $k = $key('value', $n); $has = array_key_exists($n, $values);
    $t = $key('text', $n); $known = array_key_exists($n, $texts);
    // Above 2000 bytes and compressible the class compresses, which it remembers in the flags.
    $fresh = [mt_rand(), ['user' => mt_rand(), 'cart' => range(0, mt_rand(0, 30))], str_repeat(md5((string) mt_rand()), mt_rand(1, 300)), 1.5, true][mt_rand(0, 4)];
    switch (mt_rand(0, 15)) {
        case 0: case 1: same('set', $cache->set($k, $fresh, 3600), true, $cache); $values[$n] = $fresh; break;
        case 2: case 3: same('get', $cache->get($k), $values[$n] ?? false, $cache); break;
        case 4: same('add', $cache->add($k, $fresh, 3600), !$has, $cache); if (!$has) $values[$n] = $fresh; break;
        case 5: same('replace', $cache->replace($k, $fresh, 3600), $has, $cache); if ($has) $values[$n] = $fresh; break;
        case 6: same('delete', $cache->delete($k), $has, $cache); unset($values[$n]); break;
        case 7: same('touch', $cache->touch($k, 7200), $has, $cache); break;
        case 8:
            $found = $cache->getMulti(array_map(fn ($i) => $key('value', $i), range(0, 7))) ?: [];
            $expected = [];
            foreach ($values as $i => $value) $expected[$key('value', $i)] = $value;
            ksort($found); ksort($expected);
            same('getMulti', $found, $expected, $cache);
            break;
        case 9:
            $seen = $cache->get($k, null, Memcached::GET_EXTENDED);
            same('gets', $seen === false ? false : $seen['value'], $values[$n] ?? false, $cache);
            if ($seen === false) break;
            $done = $cache->cas($seen['cas'], $k, $fresh, 3600);
            if (!$done && $moved < 3) {
                // The authority moved between the two: the change is refused, and a new number has to be asked for.
                $moved++;
                $seen = $cache->get($k, null, Memcached::GET_EXTENDED);
                same('gets after a refused cas', $seen['value'] ?? false, $values[$n], $cache);
                $done = $cache->cas($seen['cas'], $k, $fresh, 3600);
            }
            same('cas', $done, true, $cache);
            same('stale cas', $cache->cas($seen['cas'], $k, 'stale', 3600), false, $cache);
            $values[$n] = $fresh;
            break;
        case 10: $texts[$n] = 'text'; same('set text', $raw->set($t, 'text', 3600), true, $raw); break;
        case 11: same('append', (bool) $raw->append($t, 'tail'), $known, $raw); if ($known) $texts[$n] .= 'tail'; break;
        case 12:
            same('prepend', (bool) $raw->prepend($t, 'head'), $known, $raw);
            if ($known) $texts[$n] = 'head' . $texts[$n];
            same('get text', $raw->get($t), $texts[$n] ?? false, $raw);
            if ($known && strlen($texts[$n]) > 2000) { unset($texts[$n]); $raw->delete($t); }
            break;
        case 13:
            if ($number === null) { $number = 100; same('set number', $raw->set($key('number'), '100', 3600), true, $raw); }
            same('increment', $raw->increment($key('number'), 7), $number += 7, $raw);
            same('decrement', $raw->decrement($key('number'), 3), $number -= 3, $raw);
            if ($raw->increment($counter) === false) wrong('a shared counter is gone'); else $incremented++;
            break;
        case 14:
            // Another key that is no session.
            same('set aside', $cache->set("aside-$name", $round, 3600), true, $cache);
            same('get aside', $cache->get("aside-$name"), $round, $cache);
            break;
        default:
            if (!$raw->add($lock, $name, 60)) break;
            $before = (int) $raw->get($count);
            usleep(mt_rand(0, 1000));
            same('set guarded', $raw->set($count, (string) ($before + 1)), true, $raw);
            $guarded++;
            same('unlock', $raw->delete($lock), true, $raw);
    }
}
echo json_encode([
    'client' => "php-class-$mode", 'operations' => $operations, 'failures' => $failures, 'first' => $first,
    'incremented' => $incremented, 'guarded' => $guarded, 'loggedIn' => count($values),
]), "\n";
