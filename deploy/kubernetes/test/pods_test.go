package kubernetes

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// margin is what a process may need after its grace period.
const margin = 10 * time.Second

func TestTerminationWaitsForGracePeriod(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			if w.kind == "Job" {
				continue // A migration is a transaction and needs no grace period.
			}
			grace, err := time.ParseDuration(environment(t, m, w)["KLINGHOOK_GRACE"])
			if err != nil {
				t.Errorf("%s: KLINGHOOK_GRACE: %v", w, err)
				continue
			}
			var pause time.Duration
			if l := w.container().Lifecycle; l != nil {
				pause = time.Duration(l.PreStop.Sleep.Seconds) * time.Second
			}
			if w.component() == "ingest" && pause < 5*time.Second {
				t.Errorf("%s stops before load balancers know: its lifecycle is %s", w, text(w.container().Lifecycle))
			}
			allowed := w.pod.Spec.TerminationGracePeriodSeconds
			if need := pause + grace + margin; allowed == nil || time.Duration(*allowed)*time.Second < need {
				t.Errorf("%s is killed after %s, want %s", w, text(allowed), need)
			}
		}
	})
}

// TestPodsAreRestricted checks the restricted Pod Security Standard, and more.
func TestPodsAreRestricted(t *testing.T) {
	const wantPod = `{"runAsUser":65532,"runAsGroup":65532,"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}`
	const want = `{"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}`
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			pod, c := w.pod.Spec, w.container()
			security := *pod.SecurityContext
			security.FSGroup, security.FSGroupChangePolicy = nil, nil // checked with the volume
			if got := text(security); got != wantPod {
				t.Errorf("%s: security is %s, want %s", w, got, wantPod)
			}
			if got := text(c.SecurityContext); got != want {
				t.Errorf("%s: the container's security is %s, want %s", w, got, want)
			}
			if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 || pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Errorf("%s has more than one container, or uses its host's namespaces", w)
			}
			if slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 }) {
				t.Errorf("%s uses ports of its host", w)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: resources are %s", w, text(c.Resources))
			}
			mounts := named[*corev1.ServiceAccount](t, m, pod.ServiceAccountName).AutomountServiceAccountToken
			for what, value := range map[string]*bool{
				"automountServiceAccountToken": pod.AutomountServiceAccountToken, "enableServiceLinks": pod.EnableServiceLinks, "token of its account": mounts,
			} {
				if value == nil || *value {
					t.Errorf("%s: %s is not false", w, what)
				}
			}
		}
	})
}

func TestProbesUsePortsOfTheProcess(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, component := range []string{"ingest", "worker", "admin"} {
			w := workloadOf(t, m, component)
			c, env := w.container(), environment(t, m, w)
			listening := map[string]string{"private": env["KLINGHOOK_ADMIN_ADDR"]}
			ready := "private"
			if component == "ingest" {
				listening["webhooks"], ready = env["KLINGHOOK_ADDR"], "webhooks"
			}
			for name, port := range ports(w) {
				if host, p, err := net.SplitHostPort(listening[name]); err != nil || host != "" || p != strconv.Itoa(int(port)) {
					t.Errorf("%s: port %s is %d, but the process listens on %q", w, name, port, listening[name])
				}
				delete(listening, name)
			}
			if len(listening) > 0 {
				t.Errorf("%s has no port for %v", w, listening)
			}
			for path, probe := range map[string]*corev1.Probe{"/healthz private": c.LivenessProbe, "/readyz " + ready: c.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path+" "+probe.HTTPGet.Port.String() != path {
					t.Errorf("%s: probe of %s is %s", w, path, text(probe))
				}
			}
		}
	})
}

func TestContainersRunOurPrograms(t *testing.T) {
	dockerfile, err := os.ReadFile("../../Dockerfile")
	noError(t, err)
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			c := w.container()
			repository, tag, _ := strings.Cut(c.Image, ":")
			program := filepath.Base(repository)
			if tag == "" || tag == "latest" {
				t.Errorf("%s runs %s, want a release", w, c.Image)
			}
			if !regexp.MustCompile(`(?im)^FROM\s.*\sAS\s+` + regexp.QuoteMeta(program) + `\s*$`).Match(dockerfile) {
				t.Errorf("%s runs %s, which is no target of deploy/Dockerfile", w, program)
			}
			want := []string{w.component()}
			if w.component() == "ingest" {
				want = nil
			}
			if len(c.Command) > 0 || !slices.Equal(c.Args, want) {
				t.Errorf("%s runs %q with %q, want the image's program with %q", w, c.Command, c.Args, want)
			}
		}
	})
}

// TestSpoolHasItsVolume checks that the pod's volume has room for the spool, and that
// ingest without a spool has none.
func TestSpoolHasItsVolume(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		w := workloadOf(t, m, "ingest")
		env := environment(t, m, w)
		if env["KLINGHOOK_NO_SPOOL"] == "true" {
			if w.kind != "Deployment" || len(w.container().VolumeMounts) > 0 || len(w.claims) > 0 {
				t.Errorf("%s has no spool, but %s and %s", w, text(w.container().VolumeMounts), text(w.claims))
			}
			return
		}
		if w.kind != "StatefulSet" || len(w.claims) != 1 || len(w.container().VolumeMounts) != 1 {
			t.Fatalf("%s has %d claims and %d mounts, want one of each in a StatefulSet", w, len(w.claims), len(w.container().VolumeMounts))
		}
		claim, mount := w.claims[0], w.container().VolumeMounts[0]
		if claim.Name != mount.Name || !strings.HasPrefix(env["KLINGHOOK_SPOOL_DIR"], mount.MountPath+"/") {
			t.Errorf("%s has its spool in %s, but claim %s at %s", w, env["KLINGHOOK_SPOOL_DIR"], claim.Name, mount.MountPath)
		}
		mebibytes, err := strconv.ParseInt(strings.TrimSuffix(env["KLINGHOOK_SPOOL_MAX_SIZE"], "MiB"), 10, 64)
		if room := claim.Spec.Resources.Requests.Storage().Value(); err != nil || room < 2*mebibytes<<20 {
			t.Errorf("%s: %d bytes for a spool of %s, %v", w, room, env["KLINGHOOK_SPOOL_MAX_SIZE"], err)
		}
		if g := w.pod.Spec.SecurityContext.FSGroup; g == nil || *g == 0 {
			t.Errorf("%s: the volume belongs to group %s", w, text(g))
		}
	})
}
