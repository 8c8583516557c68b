// Package load sends signed deliveries: as fast as they are answered (wrk, or vegeta
// where wrk is not installed), at a constant rate (vegeta), or each once.
package load
