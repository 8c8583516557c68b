package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// object is any of the objects below.
type object interface{ metav1.Object }

// blank returns an empty object of a kind; nil of one that nobody expects here.
func blank(apiVersion, kind string) object {
	switch apiVersion + " " + kind {
	case "v1 Namespace":
		return &corev1.Namespace{}
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}
	case "v1 Secret":
		return &corev1.Secret{}
	case "v1 Service":
		return &corev1.Service{}
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "apps/v1 StatefulSet":
		return &appsv1.StatefulSet{}
	case "batch/v1 Job":
		return &batchv1.Job{}
	case "autoscaling/v2 HorizontalPodAutoscaler":
		return &autoscalingv2.HorizontalPodAutoscaler{}
	case "policy/v1 PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networkingv1.NetworkPolicy{}
	case "networking.k8s.io/v1 Ingress":
		return &networkingv1.Ingress{}
	case "keda.sh/v1alpha1 ScaledObject":
		return &kedav1alpha1.ScaledObject{}
	case "keda.sh/v1alpha1 TriggerAuthentication":
		return &kedav1alpha1.TriggerAuthentication{}
	}
	return nil
}

// decode reads a stream of objects. A field that an object's type does not have is an
// error, and so is one that stands there twice.
func decode(stream []byte) ([]object, error) {
	var objects []object
	docs := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var typed metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &typed); err != nil {
			return nil, err
		}
		o := blank(typed.APIVersion, typed.Kind)
		if o == nil {
			return nil, fmt.Errorf("an object of %s %s: teach blank about it", typed.APIVersion, typed.Kind)
		}
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", typed.Kind, err, doc)
		}
		objects = append(objects, o)
	}
}

// folder is where the manifests are.
const folder = ".."

// roots are the kustomizations that people apply.
func roots(t *testing.T) []string {
	t.Helper()
	overlays, err := filepath.Glob(filepath.Join(folder, "overlays", "*"))
	if err != nil || len(overlays) < 3 {
		t.Fatalf("the overlays are %q, %v", overlays, err)
	}
	return append([]string{filepath.Join(folder, "base")}, overlays...)
}

// build returns the objects of a kustomization.
func build(t *testing.T, root string) manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(stream)
	if err != nil {
		t.Fatalf("%s: %v", root, err)
	}
	return manifests(objects)
}

// onEach runs a test on what each kustomization makes.
func onEach(t *testing.T, f func(t *testing.T, m manifests)) {
	t.Helper()
	for _, root := range roots(t) {
		t.Run(filepath.Base(root), func(t *testing.T) { f(t, build(t, root)) })
	}
}

// exampleSecrets are the Secrets of the example, by name.
func exampleSecrets(t *testing.T) map[string]*corev1.Secret {
	t.Helper()
	stream, err := os.ReadFile(filepath.Join(folder, "secrets.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(stream)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]*corev1.Secret{}
	for _, s := range of[*corev1.Secret](manifests(objects)) {
		secrets[s.Name] = s
	}
	return secrets
}

// TestDecodeIsStrict holds that a mistake is found: without it all else may mean
// nothing.
func TestDecodeIsStrict(t *testing.T) {
	for name, doc := range map[string]string{
		"a field of no type":         "apiVersion: apps/v1\nkind: Deployment\nspec: {replica: 1}\n",
		"a field of KEDA's no type":  "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec: {minReplicas: 1}\n",
		"a field twice":              "apiVersion: v1\nkind: Service\nspec: {clusterIP: None, clusterIP: None}\n",
		"a kind that is not ours":    "apiVersion: v1\nkind: Pod\n",
		"a version that is not ours": "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\n",
		"a value of another type":    "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: two}\n",
	} {
		if _, err := decode([]byte(doc)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestBuild holds that everything decodes, and has a name and the namespace.
func TestBuild(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		seen := map[string]bool{}
		for _, o := range m {
			name := fmt.Sprintf("%T %s", o, o.GetName())
			if o.GetName() == "" || seen[name] {
				t.Errorf("%s has no name, or is there twice", name)
			}
			seen[name] = true
			if _, cluster := o.(*corev1.Namespace); !cluster && o.GetNamespace() != "klinghook" {
				t.Errorf("%s is in namespace %q", name, o.GetNamespace())
			}
			if _, secret := o.(*corev1.Secret); secret {
				t.Errorf("%s: secrets are made elsewhere", name)
			}
		}
	})
}
