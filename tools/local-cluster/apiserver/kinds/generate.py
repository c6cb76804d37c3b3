#!/usr/bin/env python3
"""Writes schema.txt and descriptions.txt.gz from the published Kubernetes modules.

usage: generate.py KUBERNETES API APIMACHINERY APIEXTENSIONS   (folders of the four Go modules, of one
release: k8s.io/kubernetes, k8s.io/api, k8s.io/apimachinery, k8s.io/apiextensions-apiserver)

schema.txt, one line per type and field, tab-separated:
  @ TYPE [group/version/Kind …]
  NAME NUMBER TYPE [flag …]
NUMBER is the field's protobuf number, 0 where it has none, 2.5 where it is field 5 of an embedded
message 2. TYPE is string, int32, int64, bool, double, bytes, time, microtime, any, object, or the name of another type; [] and {} before it make an array and
a map. Flags: ! (required), merge=KEY, strategy=A,B, list=atomic|set|map:KEY,KEY, map=atomic, default=JSON.
descriptions.txt has lines TYPE[.FIELD] TAB TEXT, with \\n for line breaks.
"""
import gzip, json, re, sys
from pathlib import Path

KINDS = {
    "io.k8s.api.core.v1": "Namespace Pod PodTemplate Service Endpoints ConfigMap Secret Event Node ServiceAccount "
    "PersistentVolume PersistentVolumeClaim Binding".split(),
    "io.k8s.api.apps.v1": "StatefulSet Deployment ReplicaSet ControllerRevision DaemonSet".split(),
    "io.k8s.api.batch.v1": ["Job"],
    "io.k8s.api.policy.v1": ["PodDisruptionBudget", "Eviction"],
    "io.k8s.api.discovery.v1": ["EndpointSlice"],
    "io.k8s.api.events.v1": ["Event"],
    "io.k8s.api.coordination.v1": ["Lease"],
    "io.k8s.api.storage.v1": ["StorageClass", "VolumeAttachment", "CSINode"],
    "io.k8s.api.rbac.v1": "Role RoleBinding ClusterRole ClusterRoleBinding".split(),
    "io.k8s.api.admissionregistration.v1": ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
    "io.k8s.api.authentication.v1": ["TokenReview", "TokenRequest", "SelfSubjectReview"],
    "io.k8s.api.authorization.v1": ["SelfSubjectAccessReview", "SubjectAccessReview", "SelfSubjectRulesReview"],
    "io.k8s.api.autoscaling.v1": ["Scale"],
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1": ["CustomResourceDefinition"],
    "io.k8s.apimachinery.pkg.apis.meta.v1": ["Status", "DeleteOptions"],
}
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
SCALARS = {
    META + "Time": "time", META + "MicroTime": "microtime", META + "FieldsV1": "object", META + "Duration": "string",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "json",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "json",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "json",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "json",
}


def proto_messages(folders):
    """(package.Message) -> {field: (number, type)}; types as swagger names them."""
    messages = {}
    for folder in folders:
        for path in Path(folder).rglob("generated.proto"):
            text = path.read_text()
            package = re.search(r"^package (\S+);", text, re.M).group(1)
            for message in re.finditer(r"^message (\w+) \{\n(.*?)^\}", text, re.M | re.S):
                fields = {}
                for field in re.finditer(r"^  (?:optional |repeated )?([\w.<>, ]+?) (\w+) = (\d+);", message.group(2), re.M):
                    kind = field.group(1).lstrip(".")
                    kind = kind if "." in kind else f"{package}.{kind}"
                    fields[field.group(2)] = (field.group(3), swagger_name(kind))
                messages[swagger_name(f"{package}.{message.group(1)}")] = fields
    return messages


def swagger_name(name):
    return name.replace("k8s.io.", "io.k8s.", 1).replace("apiextensions_apiserver", "apiextensions-apiserver")


def number_of(name, field, properties, messages):
    """The field's number, "2.5" where it lies in an embedded message that JSON does not show."""
    fields = messages.get(name, {})
    camel = re.sub(r"-(\w)", lambda m: m.group(1).upper(), field)
    if camel in fields:
        return fields[camel][0]
    for other, (number, kind) in fields.items():
        if other not in properties and kind in messages:
            inner = number_of(kind, field, properties, messages)
            if inner != "0":
                return f"{number}.{inner}"
    return "0"


def type_of(schema, seen):
    if "$ref" in schema:
        name = schema["$ref"].split("/")[-1]
        if name not in SCALARS:
            seen.append(name)
        return SCALARS.get(name, name)
    for inner in schema.get("allOf", []):
        return type_of(inner, seen)
    kind, form = schema.get("type"), schema.get("format")
    if kind == "array":
        return "[]" + type_of(schema["items"], seen)
    if kind == "object":
        extra = schema.get("additionalProperties")
        return "{}" + type_of(extra, seen) if extra else "object"
    if kind == "string":
        return "bytes" if form == "byte" else "string"
    return {"integer": form or "int64", "boolean": "bool", "number": "double", None: "any"}[kind]


def flags_of(schema, required):
    flags = ["!"] if required else []
    for flag, key in (("merge", "patch-merge-key"), ("strategy", "patch-strategy"), ("list", "list-type"),
                      ("map", "map-type")):
        value = schema.get("x-kubernetes-" + key)
        if value == "map":
            value += ":" + ",".join(schema["x-kubernetes-list-map-keys"])
        if value and value != "granular":
            flags.append(f"{flag}={value}")
    if schema.get("default") not in (None, "", {}):
        flags.append("default=" + json.dumps(schema["default"], separators=(",", ":")))
    return flags


def main():
    kubernetes, *protos = sys.argv[1:]
    types = json.loads((Path(kubernetes) / "api/openapi-spec/swagger.json").read_text())["definitions"]
    messages = proto_messages(protos)
    todo = [f"{package}.{kind}" for package, kinds in KINDS.items() for kind in kinds]
    done, lines, texts = set(), [], []
    while todo:
        name = todo.pop(0)
        if name in done:
            continue
        done.add(name)
        schema = types[name]
        kinds = [f"{k['group']}/{k['version']}/{k['kind']}" for k in schema.get("x-kubernetes-group-version-kind", [])]
        kinds = kinds if name.rsplit(".", 1)[1] in KINDS.get(name.rsplit(".", 1)[0], []) else []
        if name.endswith("DeleteOptions"):
            kinds = ["/v1/DeleteOptions"]
        flags = ["map=atomic"] if schema.get("x-kubernetes-map-type") == "atomic" else []
        lines.append("\t".join(["@", name] + kinds + flags))
        texts.append((name, schema.get("description", "")))
        for field, inner in sorted(schema.get("properties", {}).items()):
            number = number_of(name, field, schema["properties"], messages)
            flags = flags_of(inner, field in schema.get("required", []))
            lines.append("\t".join([field, number, type_of(inner, todo)] + flags))
            texts.append((f"{name}.{field}", inner.get("description", "")))
    folder = Path(__file__).parent
    (folder / "schema.txt").write_text("\n".join(lines) + "\n")
    text = "".join(f"{key}\t{value.replace(chr(10), chr(92) + 'n')}\n" for key, value in texts if value)
    (folder / "descriptions.txt.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


main()
