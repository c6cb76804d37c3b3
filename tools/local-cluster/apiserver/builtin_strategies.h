// The functions behind StrategyOf(): one file per family of kinds.

#pragma once

#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/schema/errors.h"

namespace local_cluster {

using Causes = std::vector<ErrorCause>;
using JsonObject = boost::json::object;

void SetPodDefaults(JsonObject& pod);
void ValidatePod(const JsonObject& pod, const JsonObject* old, Causes& causes);
void ValidatePodSpec(const JsonObject& spec, const std::string& path, Causes& causes);

void SetStatefulSetDefaults(JsonObject& object);
void ValidateStatefulSet(const JsonObject& object, const JsonObject* old, Causes& causes);
void SetDeploymentDefaults(JsonObject& object);
void SetReplicaSetDefaults(JsonObject& object);
void SetDaemonSetDefaults(JsonObject& object);
// Deployments, ReplicaSets, DaemonSets: a selector that fits the template and never changes.
void ValidateWorkload(const JsonObject& object, const JsonObject* old, Causes& causes);
void SetJobDefaults(JsonObject& object);
void ValidateJob(const JsonObject& object, const JsonObject* old, Causes& causes);

void SetServiceDefaults(JsonObject& object);
void ValidateService(const JsonObject& object, const JsonObject* old, Causes& causes);

void SetSecretDefaults(JsonObject& object);
void ValidateConfig(const JsonObject& object, const JsonObject* old, Causes& causes);
void SetClaimDefaults(JsonObject& object);
void ValidateClaim(const JsonObject& object, const JsonObject* old, Causes& causes);
void SetNamespaceDefaults(JsonObject& object);

}  // namespace local_cluster
