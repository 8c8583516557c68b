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

// margin is what a process may take beyond its grace period, to close what it has
// open.
const margin = 10 * time.Second

// TestGrace holds that no process is killed while it still may finish its work.
func TestGrace(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			if w.kind == "Job" {
				continue // It has no grace period: a migration is a transaction.
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
				t.Errorf("%s is killed after %s, and needs %s", w, text(allowed), need)
			}
		}
	})
}

// TestIngestLeavesTheLoadBalancerFirst holds that ingest still takes deliveries for a
// while after it was told to go.
func TestIngestLeavesTheLoadBalancerFirst(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		if l := workloadOf(t, m, "ingest").container().Lifecycle; l == nil || l.PreStop.Sleep.Seconds < 5 {
			t.Errorf("lifecycle is %s", text(l))
		}
	})
}

// TestHardening holds what Kubernetes calls restricted, and more.
func TestHardening(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, w := range workloads(m) {
			pod := w.pod.Spec
			if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
				t.Fatalf("%s has other containers than one", w)
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
				t.Errorf("%s has something of its host", w)
			}
			for _, p := range c.Ports {
				if p.HostPort != 0 {
					t.Errorf("%s takes port %d of its host", w, p.HostPort)
				}
			}
			if account := named[*corev1.ServiceAccount](t, m, pod.ServiceAccountName); account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Errorf("%s: its account hands out tokens", w)
			}
		}
	})
}

// TestProbes holds that each process is asked whether it lives and whether it is
// ready, at a port where it listens.
func TestProbes(t *testing.T) {
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
					t.Errorf("%s: port %s is %d, and the process listens on %q", w, name, port, listening[name])
				}
				delete(listening, name)
			}
			if len(listening) > 0 {
				t.Errorf("%s tells of no port for %v", w, listening)
			}
			for path, probe := range map[string]*corev1.Probe{"/healthz private": c.LivenessProbe, "/readyz " + ready: c.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path+" "+probe.HTTPGet.Port.String() != path {
					t.Errorf("%s: probe of %s is %s", w, path, text(probe))
				}
			}
		}
	})
}

// TestImages holds that each container runs one of the programs, and a command that
// the program has.
func TestImages(t *testing.T) {
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
				t.Errorf("%s runs %s: which release is that?", w, c.Image)
			}
			if _, err := os.Stat(filepath.Join("../../../cmd", program, "main.go")); err != nil {
				t.Errorf("%s runs %s: there is no such program: %v", w, program, err)
			}
			if dockerfile != nil && !slices.ContainsFunc(stages, func(s []string) bool { return s[1] == program }) {
				t.Errorf("%s runs %s, which is no target of deploy/Dockerfile", w, program)
			}
			if len(c.Command) > 0 {
				t.Errorf("%s has a command %q of its own: the image knows its program", w, c.Command)
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

// TestSpool holds that the spool is on a volume of the pod's own, with room for what
// it may hold; and that without one nothing is left of it.
func TestSpool(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		w := workloadOf(t, m, "ingest")
		env := environment(t, m, w)
		if env["KLINGHOOK_NO_SPOOL"] == "true" {
			if w.kind != "Deployment" || len(w.container().VolumeMounts) > 0 || len(w.claims) > 0 {
				t.Errorf("%s has no spool, and %s and %s", w, text(w.container().VolumeMounts), text(w.claims))
			}
			return
		}
		if w.kind != "StatefulSet" || len(w.claims) != 1 || len(w.container().VolumeMounts) != 1 {
			t.Fatalf("%s has %d claims and %d mounts, want one of each in a StatefulSet", w, len(w.claims), len(w.container().VolumeMounts))
		}
		claim, mount := w.claims[0], w.container().VolumeMounts[0]
		if claim.Name != mount.Name || !strings.HasPrefix(env["KLINGHOOK_SPOOL_DIR"], mount.MountPath+"/") {
			t.Errorf("%s has its spool in %s, and claim %s at %s", w, env["KLINGHOOK_SPOOL_DIR"], claim.Name, mount.MountPath)
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
