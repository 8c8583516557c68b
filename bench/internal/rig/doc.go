// Package rig starts what is measured, each as a process of its own on loopback with
// data of its own, and reads from outside what it costs: processor time and memory
// from /proc (so it is for Linux), Redis's own counters.
//
// What a Rig started ends with [Rig.Close], and with the harness, however that ends.
package rig
