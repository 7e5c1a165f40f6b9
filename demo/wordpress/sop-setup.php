<?php
// Run once for each new release, before it goes live: installs WordPress where it is not there, or brings it up to date.
if (PHP_SAPI !== 'cli') {
    http_response_code(404);
    exit;
}
$_SERVER['HTTP_HOST'] = getenv('WEBSITE_NAME');
$_SERVER['REQUEST_URI'] = '/';
$_SERVER['REQUEST_METHOD'] = 'GET';
define('WP_INSTALLING', true);
require __DIR__ . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

if (is_blog_installed()) {
    wp_upgrade();
    exit;
}
// The agency sets its own password by "Lost your password?"; this one is kept nowhere.
$made = wp_install('Dinas Pendidikan Kota Tarakan', 'disdik', 'disdik@tarakankota.go.id', true, '', wp_generate_password(32));
if (!is_blog_installed()) {
    fwrite(STDERR, "WordPress could not be installed\n");
    exit(1);
}
