#!/bin/sh
# Runs as the user redis.
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . ! -user redis -exec chown redis {} +
  exec setpriv --reuid redis --regid redis --clear-groups "$@"
fi
exec "$@"
