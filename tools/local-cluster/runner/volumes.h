// A Pod's volumes as folders.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/kube/object.h"
#include "local-cluster/runner/pod_sources.h"
#include "local-cluster/runner/rewrite.h"

namespace local_cluster {

struct VolumeFile {
  std::string content;
  unsigned mode = 0644;
};

// Path in the volume → file.
using VolumeFiles = std::map<std::string, VolumeFile>;

// The files of a configMap, secret, downwardAPI or projected volume (`volume`: its JSON). kNotFound
// in kubelet's words when a source is missing; kInvalidArgument for a path that leaves the volume.
absl::StatusOr<VolumeFiles> FilesOfVolume(const kube::Object& pod, const boost::json::value& volume,
                                          const PodSources& sources);

struct VolumeOptions {
  std::string pod_folder;    // Of this Pod; its volumes lie in "volumes/NAME".
  std::string claim_folder;  // Claims lie in "NAMESPACE/NAME".
  std::vector<PathMapping> host_paths;
};

// Makes all volumes of `pod`, and brings the content of those with content up to date: all files of
// a volume change at once, by one link. Returns each volume's folder.
absl::StatusOr<std::map<std::string, std::string>> PrepareVolumes(const kube::Object& pod,
                                                                  const PodSources& sources,
                                                                  const VolumeOptions& options);

// True when a volume's content comes from the API, so that it can change.
bool HasChangingVolumes(const kube::Object& pod);

}  // namespace local_cluster
