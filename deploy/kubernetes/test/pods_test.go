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
			allowed := w.pod.Spec.TerminationGracePeriodSeconds
			if need := pause + grace + margin; allowed == nil || time.Duration(*allowed)*time.Second < need {
				t.Errorf("%s is killed after %s, want %s", w, text(allowed), need)
			}
		}
	})
}

func TestIngestLeavesTheLoadBalancerBeforeItStops(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		if l := workloadOf(t, m, "ingest").container().Lifecycle; l == nil || l.PreStop.Sleep.Seconds < 5 {
			t.Errorf("lifecycle is %s", text(l))
		}
	})
}

// TestPodsAreRestricted checks the restricted Pod Security Standard, and more.
func TestPodsAreRestricted(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			pod := w.pod.Spec
			if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
				t.Fatalf("%s does not have exactly one container", w)
			}
			c := w.container()
			yes := func(what string, v *bool) {
				if v == nil || !*v {
					t.Errorf("%s: %s is not true", w, what)
				}
			}
			no := func(what string, v *bool) {
				if v == nil || *v {
					t.Errorf("%s: %s is not false", w, what)
				}
			}
			no("automountServiceAccountToken", pod.AutomountServiceAccountToken)
			no("enableServiceLinks", pod.EnableServiceLinks)
			yes("runAsNonRoot", pod.SecurityContext.RunAsNonRoot)
			yes("readOnlyRootFilesystem", c.SecurityContext.ReadOnlyRootFilesystem)
			no("allowPrivilegeEscalation", c.SecurityContext.AllowPrivilegeEscalation)
			if u := pod.SecurityContext.RunAsUser; u == nil || *u == 0 {
				t.Errorf("%s runs as user %s", w, text(u))
			}
			if p := pod.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: seccomp is %s", w, text(p))
			}
			if caps := c.SecurityContext.Capabilities; caps == nil || !slices.Equal(caps.Drop, []corev1.Capability{"ALL"}) || len(caps.Add) > 0 {
				t.Errorf("%s: capabilities are %s", w, text(caps))
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: resources are %s", w, text(c.Resources))
			}
			if pod.HostNetwork || pod.HostPID || pod.HostIPC || c.SecurityContext.Privileged != nil {
				t.Errorf("%s uses its host's namespaces", w)
			}
			for _, p := range c.Ports {
				if p.HostPort != 0 {
					t.Errorf("%s uses port %d of its host", w, p.HostPort)
				}
			}
			if account := named[*corev1.ServiceAccount](t, m, pod.ServiceAccountName); account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Errorf("%s: its account mounts tokens", w)
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
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	stages := regexp.MustCompile(`(?im)^FROM\s.*\sAS\s+(\S+)\s*$`).FindAllStringSubmatch(string(dockerfile), -1)
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			c := w.container()
			repository, tag, _ := strings.Cut(c.Image, ":")
			program := filepath.Base(repository)
			if tag == "" || tag == "latest" {
				t.Errorf("%s runs %s, want a release", w, c.Image)
			}
			if _, err := os.Stat(filepath.Join("../../../cmd", program, "main.go")); err != nil {
				t.Errorf("%s runs unknown program %s: %v", w, program, err)
			}
			if dockerfile != nil && !slices.ContainsFunc(stages, func(s []string) bool { return s[1] == program }) {
				t.Errorf("%s runs %s, which is no target of deploy/Dockerfile", w, program)
			}
			if len(c.Command) > 0 {
				t.Errorf("%s overrides the image's program with %q", w, c.Command)
			}
			want := []string{w.component()}
			if w.component() == "ingest" {
				want = nil
			}
			if !slices.Equal(c.Args, want) {
				t.Errorf("%s has the arguments %q, want %q", w, c.Args, want)
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
