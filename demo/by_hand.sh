#!/bin/sh
# What an administrator did by hand one day: a vhost that no register knows.
set -e
mkdir -p /var/www/bappeda
echo 'Bappeda, made by hand' > /var/www/bappeda/index.html
cat > /etc/apache2/sites-available/bappeda.conf << 'CONF'
<VirtualHost *:80>
  ServerName bappeda.tarakankota.go.id
  DocumentRoot /var/www/bappeda
</VirtualHost>
CONF
[ -e /etc/apache2/sites-enabled/bappeda.conf ] || { a2ensite -q bappeda > /dev/null; systemctl reload apache2; }
