// Package compose tests docker-compose.yml, the systemd units and the Grafana dashboard;
// with COMPOSE_TEST=1, also the running stack. It is a module of its own, so that
// klinghook does not depend on Compose's loader and Grafana's types.
package compose
