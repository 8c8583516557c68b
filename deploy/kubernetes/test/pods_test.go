package kubernetes

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestPodsAreRestricted checks the restricted Pod Security Standard, and more, and that
// containers run our programs.
func TestPodsAreRestricted(t *testing.T) {
	const wantPod = `{"runAsUser":65532,"runAsGroup":65532,"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}`
	const want = `{"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}`
	dockerfile := read(t, "../../Dockerfile")
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			pod := w.pod.Spec
			security := *pod.SecurityContext
			security.FSGroup, security.FSGroupChangePolicy = nil, nil // checked with the volume
			if got := text(security); got != wantPod || pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Errorf("%s: security is %s, want %s and no namespace of the host", w, got, wantPod)
			}
			mounts := named[*corev1.ServiceAccount](t, m, pod.ServiceAccountName).AutomountServiceAccountToken
			if got := text([]*bool{pod.AutomountServiceAccountToken, pod.EnableServiceLinks, mounts}); got != "[false,false,false]" {
				t.Errorf("%s: mounts a token, has service links, its account mounts a token: %s", w, got)
			}
			for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
				if got := text(c.SecurityContext); got != want {
					t.Errorf("%s: security of %s is %s, want %s", w, c.Name, got, want)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: resources of %s are %s", w, c.Name, text(c.Resources))
				}
				repository, tag, _ := strings.Cut(c.Image, ":")
				if tag == "" || tag == "latest" || !strings.Contains(dockerfile, "\nFROM base AS "+filepath.Base(repository)+"\n") {
					t.Errorf("%s runs %s, want a release of a target of deploy/Dockerfile", w, c.Image)
				}
				if args := strings.Join(c.Args, " "); len(c.Command) > 0 || args != c.Name && c.Name != "ingest" {
					t.Errorf("%s runs %q with %q, want the image's program with %q", w, c.Command, args, c.Name)
				}
			}
			if before := pod.InitContainers; w.component() == "worker" && (len(before) != 1 || before[0].Name != "migrate") {
				t.Errorf("%s starts after %s, want migrate", w, text(before))
			}
		}
	})
}

// TestPodsFitTheirSettings compares ports, probes and times of a pod with the settings
// of its process.
func TestPodsFitTheirSettings(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			c, env := w.container(), environment(t, m, w.container())
			want := map[string]string{"private": env["KLINGHOOK_ADMIN_ADDR"]}
			ready := "private"
			var pause time.Duration
			if w.component() == "ingest" {
				want["webhooks"], ready = env["KLINGHOOK_ADDR"], "webhooks"
				// Load balancers must know before the process stops.
				if pause = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second; pause < 5*time.Second {
					t.Errorf("%s pauses %s before it stops", w, pause)
				}
			}
			for name, addr := range want {
				if got := ":" + strconv.Itoa(int(w.port(name))); got != addr {
					t.Errorf("%s: port %s is %s, but the process listens on %q", w, name, got, addr)
				}
			}
			for path, probe := range map[string]*corev1.Probe{"/healthz private": c.LivenessProbe, "/readyz " + ready: c.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path+" "+probe.HTTPGet.Port.String() != path {
					t.Errorf("%s: probe of %s is %s", w, path, text(probe))
				}
			}
			grace, err := time.ParseDuration(env["KLINGHOOK_GRACE"])
			noError(t, err)
			const margin = 10 * time.Second
			if got := time.Duration(*w.pod.Spec.TerminationGracePeriodSeconds) * time.Second; got < pause+grace+margin {
				t.Errorf("%s is killed after %s, want %s", w, got, pause+grace+margin)
			}
		}
	})
}

// TestSpoolHasItsVolume checks that the pod's volume has room for the spool, and that
// ingest without a spool has none.
func TestSpoolHasItsVolume(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		i := slices.IndexFunc(workloads(m), func(w workload) bool { return w.component() == "ingest" })
		w := workloads(m)[i]
		env, mounts := environment(t, m, w.container()), w.container().VolumeMounts
		if env["KLINGHOOK_NO_SPOOL"] == "true" {
			if w.kind != "Deployment" || len(mounts) > 0 || len(w.claims) > 0 {
				t.Errorf("%s has no spool, but %s and %s", w, text(mounts), text(w.claims))
			}
			return
		}
		if w.kind != "StatefulSet" || len(w.claims) != 1 || len(mounts) != 1 || w.claims[0].Name != mounts[0].Name {
			t.Fatalf("%s has claims %s and mounts %s, want one in a StatefulSet", w, text(w.claims), text(mounts))
		}
		if !strings.HasPrefix(env["KLINGHOOK_SPOOL_DIR"], mounts[0].MountPath+"/") {
			t.Errorf("%s has its spool in %s, outside of %s", w, env["KLINGHOOK_SPOOL_DIR"], mounts[0].MountPath)
		}
		mebibytes, err := strconv.ParseInt(strings.TrimSuffix(env["KLINGHOOK_SPOOL_MAX_SIZE"], "MiB"), 10, 64)
		if room := w.claims[0].Spec.Resources.Requests.Storage().Value(); err != nil || room < 2*mebibytes<<20 {
			t.Errorf("%s: %d bytes for a spool of %s, %v", w, room, env["KLINGHOOK_SPOOL_MAX_SIZE"], err)
		}
		if g := w.pod.Spec.SecurityContext.FSGroup; g == nil || *g == 0 {
			t.Errorf("%s: the volume belongs to group %s", w, text(g))
		}
	})
}

// TestEnvironmentHasOnlySettings also checks the comments of the example, and that
// secrets are in Secrets.
func TestEnvironmentHasOnlySettings(t *testing.T) {
	known := []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
	var secret []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`( \\(`…_FILE`\\))?").FindAllStringSubmatch(read(t, "../../../docs/configuration.md"), -1) {
		known = append(known, row[1])
		if row[2] != "" {
			secret = append(secret, row[1])
		}
	}
	if len(known) < 30 || len(secret) == 0 {
		t.Fatalf("docs/configuration.md has the settings %q and the secrets %q", known, secret)
	}
	names := regexp.MustCompile(`KLING[A-Z]+_[A-Z_]+`).FindAllString(read(t, "../secrets.example.yaml"), -1)
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			for _, c := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
				for name := range environment(t, m, c) {
					names = append(names, name)
				}
			}
		}
		for _, c := range of[*corev1.ConfigMap](m) {
			for name := range c.Data {
				if slices.Contains(secret, name) {
					t.Errorf("ConfigMap %s has %s, which may be a secret", c.Name, name)
				}
			}
		}
	})
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("unknown setting %s", name)
		}
	}
}
