// Package suite measures: one file for each section of the report. Each measurement
// starts what it needs, is bounded in time and count, and stops what it started.
package suite
