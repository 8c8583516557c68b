// Package admin is the private side of a klinghook process: health and metrics,
// and in its subpackage queues the pages for looking into the queue. It belongs on
// a loopback or otherwise private address; nothing here is for Kling.
package admin
