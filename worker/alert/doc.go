// Package alert notifies people when klinghook needs them, without Prometheus: when dead
// letters appear, links are about to expire, a destination is paused, a spool fills,
// deliveries are refused for a while, or no worker runs.
//
// Every process with destinations for alerts watches. A lease in Redis lets one of them
// act; if it dies, another takes over. The watcher reads only Redis: sweeps and ingest
// processes report there (see tasks.WorkReport and tasks.IngestReport). Redis also has the
// messages sent to each destination, so a restart repeats nothing. While Redis is away,
// alerts wait.
package alert
