// Package browser opens a Chromium for a test, and keeps what it asked for and what
// it complained of on the way.
package browser
