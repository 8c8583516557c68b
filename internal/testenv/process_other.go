//go:build !linux

package testenv

import "syscall"

// sysProcAttr sets nothing: only Linux can end a child with its parent.
func sysProcAttr(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
