package testenv

import "syscall"

// sysProcAttr makes the kernel signal the program when the thread that started it ends,
// at the latest with the test process.
func sysProcAttr(orphan syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: orphan}
}
