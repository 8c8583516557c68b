// Package compose holds the tests of docker-compose.yml: that Compose reads it as it is
// meant, with every profile, and, with COMPOSE_TEST=1, that the stack does what it
// promises on the engine of this machine; of the systemd units, and of the dashboard
// that Grafana is given. It is a module of its own, so that Compose's loader and
// Grafana's types are no dependencies of klinghook.
package compose
