// Package compose tests docker-compose.yml, the proxies and the systemd units; with
// COMPOSE_TEST=1, also the running stack. It is a separate module, so that klinghook
// does not depend on Compose's loader.
package compose
