package health

import (
	"context"
	"os"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
)

// availableMemory is what the process could still use without swapping, within
// the limits of the container that it runs in.
func availableMemory(ctx context.Context) (uint64, error) {
	v, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0, err
	}
	if left, ok := groupsAvailable(os.DirFS("/")); ok {
		return min(v.Available, left), nil
	}
	return v.Available, nil
}

// freeDisk is the space that is left in dir for a user without privileges.
func freeDisk(ctx context.Context, dir string) (uint64, error) {
	u, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return 0, err
	}
	return u.Free, nil
}
