<?php
// A PHP application with sessions in memcached: login, changes to the cart, logout, and carts that several requests
// fight for. `php php-sessions.php HOST PORT PREFIX NAME binary|text [FILE]` runs until stdin ends, and prints what it
// counted as JSON; what should still be logged in then goes to FILE, for whoever reads the sessions elsewhere.
[, $host, $port, $prefix, $name, $mode] = $argv;
$keep = $argv[6] ?? null;
error_reporting(E_ALL);
foreach ([
    'session.save_handler' => 'memcached', 'session.save_path' => "$host:$port", 'session.use_cookies' => '0',
    'session.use_only_cookies' => '0', 'session.cache_limiter' => '', 'session.use_strict_mode' => '1',
    'session.gc_maxlifetime' => '1440', 'session.gc_probability' => '0', 'memcached.sess_prefix' => $prefix,
    'memcached.sess_binary_protocol' => $mode === 'binary' ? '1' : '0', 'memcached.sess_locking' => '1',
    'memcached.sess_lock_expire' => '60', 'memcached.sess_lock_wait_min' => '2', 'memcached.sess_lock_wait_max' => '20',
    'memcached.sess_lock_retries' => '2000', 'memcached.sess_connect_timeout' => '20000',
] as $key => $value) ini_set($key, $value);

$operations = 0; $failures = 0; $first = null; $guarded = 0; $round = 0; $going = false;
function wrong(string $what): void {
    global $failures, $first, $round;
    $failures++;
    $first ??= "round $round: $what";
}
set_error_handler(function ($level, $message) {
    wrong('PHP says: ' . preg_replace('/[A-Za-z0-9,-]{22,}/', '***', $message));
    return true;
});

/** One request: the session of this id, or a new one for null. Returns the id that it ran under. */
function request(?string $sid, callable $work): ?string {
    global $operations;
    $operations++;
    session_id($sid ?? '');
    if (!session_start()) { wrong('no session could be started'); return null; }
    $now = session_id();
    $work();
    if (session_status() === PHP_SESSION_ACTIVE) session_write_close();
    $_SESSION = [];
    return $now;
}

$visitors = [];
function expects(array $session, array $visitor): void {
    if ($session !== $visitor['session']) {
        $have = $session === [] ? 'nothing' : strlen(serialize($session)) . ' bytes';
        wrong("a session holds $have instead of " . strlen(serialize($visitor['session'])) . ' bytes');
    }
}

stream_set_blocking(STDIN, false);
/** Carts that every driver of this kind shares; only the lock keeps two requests from losing one another's change. */
$shared = array_map(fn ($n) => 'shared-cart-' . $n, [0, 1]);
while (true) {
    $round++;
    if ($operations >= 20 && !$going) { $going = true; fwrite(STDOUT, "going\n"); }
    if (fgets(STDIN) === false && feof(STDIN)) break;
    usleep(10_000);
    $dice = mt_rand(0, 99);
    if ($visitors === [] || (count($visitors) < 40 && $dice < 15)) {
        $session = ['user' => mt_rand(), 'cart' => [], 'note' => "\0\r\n" . random_bytes(mt_rand(1, 3000))];
        $sid = request(null, function () use ($session) {
            if ($_SESSION !== []) wrong('a new session is not empty');
            $_SESSION = $session;
        });
        if ($sid !== null) $visitors[] = ['sid' => $sid, 'session' => $session];
        continue;
    }
    $n = array_rand($visitors);
    $visitor = $visitors[$n];
    if ($dice < 45) {
        $sid = request($visitor['sid'], function () use (&$visitor) {
            expects($_SESSION, $visitor);
            $_SESSION['cart'][] = mt_rand(0, 999);
            if (count($_SESSION['cart']) > 50) $_SESSION['cart'] = [];
            $visitor['session'] = $_SESSION;
        });
    } elseif ($dice < 70) {
        // Nothing changes: PHP sends a touch.
        $sid = request($visitor['sid'], fn () => expects($_SESSION, $visitor));
    } elseif ($dice < 78) {
        $sid = request($visitor['sid'], function () use ($visitor) {
            expects($_SESSION, $visitor);
            if (!session_destroy()) wrong('a logout failed');
        });
        if ($sid !== null && $sid !== $visitor['sid']) wrong('a session was gone before its logout');
        // Strict mode: an id that is logged out is never taken again.
        $again = request($visitor['sid'], function () {
            if ($_SESSION !== []) wrong('a session that was logged out is back');
            session_destroy();
        });
        if ($again === $visitor['sid']) wrong('an id that was logged out is accepted again');
        unset($visitors[$n]);
        continue;
    } elseif ($dice < 84) {
        $sid = request($visitor['sid'], function () use (&$visitor) {
            expects($_SESSION, $visitor);
            if (!session_regenerate_id(true)) wrong('an id could not be exchanged');
            $visitor['sid'] = session_id();
        });
        $sid = $visitor['sid'];
    } else {
        $cart = $shared[mt_rand(0, 1)];
        ini_set('session.use_strict_mode', '0');
        $sid = request($cart, function () {
            global $guarded;
            $before = $_SESSION['count'] ?? 0;
            usleep(mt_rand(0, 2000));
            $_SESSION['count'] = $before + 1;
            $guarded++;
        });
        ini_set('session.use_strict_mode', '1');
        continue;
    }
    if ($sid !== null && $sid !== $visitor['sid']) wrong('somebody was logged out');
    $visitors[$n] = $visitor;
}
if ($keep !== null) {
    file_put_contents($keep, json_encode(array_map(
        fn ($visitor) => ['sid' => $visitor['sid'], 'digest' => md5(serialize($visitor['session']))],
        array_values($visitors),
    )));
}
echo json_encode([
    'client' => "php-sessions-$mode", 'operations' => $operations, 'failures' => $failures, 'first' => $first,
    'incremented' => 0, 'guarded' => $guarded, 'loggedIn' => count($visitors),
]), "\n";
