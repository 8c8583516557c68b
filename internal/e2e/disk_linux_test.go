package e2e

import (
	"fmt"
	"syscall"
)

// mountSmall mounts a file system of this many bytes.
func mountSmall(dir string, bytes int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }
