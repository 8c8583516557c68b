//go:build !linux

package testenv

import "syscall"

// sysProcAttr has nothing to set: only Linux ends a child with its parent.
// Elsewhere a server outlives a test process that is killed.
func sysProcAttr(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{}
}
