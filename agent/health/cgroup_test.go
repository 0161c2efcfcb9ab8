package health

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestGroupsAvailable(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  uint64
		ok    bool
	}{
		{name: "not Linux"},
		{name: "no limit, version 2", files: map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1\n",
		}},
		{name: "limit, version 2", files: map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "700\n",
			"sys/fs/cgroup/memory.stat": "anon 500\ninactive_file 100\nactive_file 50\n",
		}, want: 400, ok: true},
		{name: "limit above, version 2", files: map[string]string{
			"proc/self/cgroup":       "0::/a.slice/b.service\n",
			"sys/fs/cgroup/cpu.stat": "", "sys/fs/cgroup/a.slice/memory.max": "1000\n", "sys/fs/cgroup/a.slice/memory.current": "900\n",
			"sys/fs/cgroup/a.slice/b.service/memory.max": "500\n", "sys/fs/cgroup/a.slice/b.service/memory.current": "100\n",
		}, want: 100, ok: true},
		{name: "over the limit", files: map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "1200\n",
		}, want: 0, ok: true},
		{name: "container, version 1", files: map[string]string{
			"proc/self/cgroup":                            "12:cpu,cpuacct:/docker/x\n9:name=systemd:/docker/x\n4:memory:/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":  "1000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes":  "800\n",
			"sys/fs/cgroup/memory/memory.stat":            "inactive_file 1\ntotal_inactive_file 300\n",
			"sys/fs/cgroup/docker/memory.limit_in_bytes":  "1\n",
			"sys/fs/cgroup/cpu/docker/x/memory.max":       "1\n",
			"sys/fs/cgroup/memory/docker/y/memory.max":    "1\n",
			"sys/fs/cgroup/memory/docker/z/memory.stat":   "",
			"sys/fs/cgroup/memory/docker/memory.no_limit": "",
		}, want: 500, ok: true},
		{name: "no limit, version 1", files: map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "800\n",
		}},
		{name: "nonsense", files: map[string]string{
			"proc/self/cgroup": "0::/../..\n:\n\n4:memory\n", "sys/fs/cgroup/memory.max": "many\n", "sys/fs/cgroup/memory.current": "1\n",
		}},
		{name: "no usage", files: map[string]string{"proc/self/cgroup": "0::/x\n", "sys/fs/cgroup/x/memory.max": "1000\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tc.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, ok := groupsAvailable(root)
			require.Equal(t, tc.ok, ok)
			require.Equal(t, tc.want, got)
		})
	}
}

// This machine's own files are read without an error, whatever they say.
func TestThisMachine(t *testing.T) {
	before, _ := groupsAvailable(os.DirFS("/"))
	available, err := availableMemory(t.Context())
	require.NoError(t, err)
	require.Positive(t, available)
	if after, ok := groupsAvailable(os.DirFS("/")); ok {
		// It changes all the time, and others may take much of it between two looks.
		require.LessOrEqual(t, available, max(before, after)+(256<<20))
	}
}

func FuzzGroups(f *testing.F) {
	f.Add("0::/a/b\n4:memory:/a\n", "1000", "900", "inactive_file 100\n")
	f.Add("0::/../..//", "18446744073709551615", "-1", "inactive_file 18446744073709551616")
	f.Fuzz(func(t *testing.T, groups, limit, usage, stat string) {
		root := fstest.MapFS{"proc/self/cgroup": {Data: []byte(groups)}}
		for _, dir := range []string{"sys/fs/cgroup/", "sys/fs/cgroup/a/", "sys/fs/cgroup/memory/"} {
			for name, text := range map[string]string{
				"memory.max": limit, "memory.current": usage, "memory.stat": stat,
				"memory.limit_in_bytes": limit, "memory.usage_in_bytes": usage,
			} {
				root[dir+name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		available, ok := groupsAvailable(root)
		most, err := strconv.ParseUint(strings.TrimSpace(limit), 10, 64)
		if ok {
			require.NoError(t, err)
			require.LessOrEqual(t, available, most)
		}
	})
}
