<?php
// Reads sessions that php-sessions.php left, by a handler of one's choice, as the application after the move:
// `php php-read-sessions.php HANDLER SAVE_PATH FILE...` prints how many it looked for and found, and the sum of the
// shared carts' counts.
[, $handler, $path] = $argv;
ini_set('session.save_handler', $handler);
ini_set('session.save_path', $path);
ini_set('session.use_cookies', '0');
ini_set('session.use_only_cookies', '0');
ini_set('session.cache_limiter', '');
ini_set('session.use_strict_mode', '1');
$asked = 0; $found = 0; $ttl = PHP_INT_MAX; $count = 0;
foreach (array_slice($argv, 3) as $file) {
    foreach (json_decode(file_get_contents($file), true) as ['sid' => $sid, 'digest' => $digest]) {
        $asked++;
        session_id($sid);
        session_start();
        if (session_id() === $sid && md5(serialize($_SESSION)) === $digest) $found++;
        session_write_close();
        $_SESSION = [];
    }
}
ini_set('session.use_strict_mode', '0');
foreach (['shared-cart-0', 'shared-cart-1'] as $sid) {
    session_id($sid);
    session_start();
    $count += $_SESSION['count'] ?? 0;
    session_write_close();
    $_SESSION = [];
}
echo json_encode(['asked' => $asked, 'found' => $found, 'count' => $count]), "\n";
