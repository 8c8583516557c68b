// Package admin is the private side of a klinghook process: health and metrics,
// and in its subpackages the pages for looking into the queue (queues), who may see
// them (login), and what protects them in a browser (guard). It belongs on
// a loopback or otherwise private address; nothing here is for Kling.
package admin
