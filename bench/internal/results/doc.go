// Package results is what a run has measured, as it is kept in a file: the raw figure
// of each round, from which the report is written again at any time.
package results
