<?php
// Everything that differs from server to server comes from the website's environment; no secret lies in the release.
define('DB_NAME', getenv('DB_NAME'));
define('DB_USER', getenv('DB_USER'));
define('DB_PASSWORD', getenv('DB_PASSWORD'));
define('DB_HOST', getenv('DB_HOST') . ':' . getenv('DB_PORT'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

$home = (($_SERVER['HTTPS'] ?? '') === 'on' ? 'https://' : 'http://') . getenv('WEBSITE_NAME');
define('WP_HOME', $home);
define('WP_SITEURL', $home);
define('WP_CONTENT_DIR', __DIR__ . '/wp-content');
define('DISALLOW_FILE_MODS', true);     // the code changes with a new release only
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', false);

foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $use) {
    define($use . '_KEY', hash_hmac('sha256', $use . '_KEY', DB_PASSWORD));
    define($use . '_SALT', hash_hmac('sha256', $use . '_SALT', DB_PASSWORD));
}

define('WP_DEBUG', false);
defined('ABSPATH') || define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
