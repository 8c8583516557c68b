// Package report writes what was measured: tables between the marks of a document
// whose text stays, and plots.
package report
