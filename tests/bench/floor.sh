#!/usr/bin/env bash
# The least that makes a website: floor.sh SERVER create|remove FIRST LAST DOMAIN ADDRESS, run on the server itself.
set -euo pipefail
server=$1 action=$2 first=$3 last=$4 domain=$5 address=$6
php=$(find /etc/php -mindepth 1 -maxdepth 1 -printf "%f" 2> /dev/null || true)
case $server-$action in
  web-create)
    for ((i = first; i < last; i++)); do
      name=floor-$i.$domain
      useradd --no-create-home --uid $((58000 + i)) "floor$i"
      mkdir -p "/srv/floor/$name"
      echo "<?php echo 'bench';" > "/srv/floor/$name/index.php"
      printf '[floor%s]\nuser = floor%s\ngroup = floor%s\nlisten = /run/php/floor%s.sock\nlisten.owner = www-data\npm = ondemand\npm.max_children = 5\n' \
        "$i" "$i" "$i" "$i" > "/etc/php/$php/fpm/pool.d/floor$i.conf"
      printf '<VirtualHost *:80>\nServerName %s\nDocumentRoot /srv/floor/%s\n<Directory /srv/floor/%s>\nRequire all granted\n</Directory>\n<FilesMatch "\\.php$">\nSetHandler "proxy:unix:/run/php/floor%s.sock|fcgi://localhost"\n</FilesMatch>\n</VirtualHost>\n' \
        "$name" "$name" "$name" "$i" > "/etc/apache2/sites-enabled/floor-$i.conf"
    done
    systemctl reload "php$php-fpm" apache2
    ;;
  web-remove)
    for ((i = first; i < last; i++)); do
      rm -rf "/srv/floor/floor-$i.$domain" "/etc/php/$php/fpm/pool.d/floor$i.conf" "/etc/apache2/sites-enabled/floor-$i.conf"
    done
    systemctl reload "php$php-fpm" apache2
    for ((i = first; i < last; i++)); do userdel "floor$i"; done
    ;;
  database-create)
    for ((i = first; i < last; i++)); do
      echo "CREATE DATABASE floor$i; CREATE USER floor$i@'$address' IDENTIFIED BY '$RANDOM$RANDOM'; GRANT ALL ON floor$i.* TO floor$i@'$address';"
    done | mariadb
    ;;
  database-remove)
    for ((i = first; i < last; i++)); do echo "DROP DATABASE floor$i; DROP USER floor$i@'$address';"; done | mariadb
    ;;
  names-create | names-remove)
    {
      echo "server 127.0.0.1"
      for ((i = first; i < last; i++)); do
        if [ "$action" = create ]; then action_line="add floor-$i.$domain 300 A $address"; else action_line="delete floor-$i.$domain A"; fi
        echo "update $action_line"
        if ((i % 500 == 499)); then echo send; fi
      done
      echo send
    } | nsupdate -k /etc/bind/keys/websites-update.key
    ;;
esac
