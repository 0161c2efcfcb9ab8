package health

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// cgroupFiles are the names in one version of Linux' control groups.
type cgroupFiles struct {
	root, limit, usage, reclaimable string
}

// groupsAvailable is the memory in bytes that the limits of this process's
// control group, and of those above it, leave: a container's limit. ok is false
// where there is no limit. root is the file system's.
func groupsAvailable(root fs.FS) (available uint64, ok bool) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	consider := func(group string, files cgroupFiles) {
		// A container sees its own group as the root, whatever the path says.
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			if left, limited := groupAvailable(root, path.Join(files.root, dir), files); limited && (!ok || left < available) {
				available, ok = left, true
			}
			if dir == "/" {
				return
			}
		}
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[0] == "0" && parts[1] == "":
			consider(parts[2], cgroupFiles{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"})
		case strings.Contains(","+parts[1]+",", ",memory,"):
			consider(parts[2], cgroupFiles{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"})
		}
	}
	return available, ok
}

// groupAvailable is what one group's limit leaves. What the kernel keeps of
// files and would drop first does not count as used.
func groupAvailable(root fs.FS, dir string, files cgroupFiles) (available uint64, ok bool) {
	const unlimited = 1 << 62 // version 1 says nearly 2^63, version 2 says max
	limit, ok := readNumber(root, path.Join(dir, files.limit))
	if !ok || limit >= unlimited {
		return 0, false
	}
	used, ok := readNumber(root, path.Join(dir, files.usage))
	if !ok {
		return 0, false
	}
	used -= min(used, readStat(root, path.Join(dir, "memory.stat"), files.reclaimable))
	return limit - min(limit, used), true
}

func readNumber(root fs.FS, name string) (uint64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	return n, err == nil
}

// readStat is one figure of a file of "name value" lines, 0 when it is not there.
func readStat(root fs.FS, name, key string) uint64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), key+" "); ok {
			n, _ := strconv.ParseUint(value, 10, 64) // 0 for nonsense
			return n
		}
	}
	return 0
}
