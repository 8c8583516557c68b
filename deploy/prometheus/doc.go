// Package prometheus has no code: its tests hold the alerts of this folder against
// klinghook's metrics and its operator's manual.
package prometheus
