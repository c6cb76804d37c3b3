// What a Workspace must satisfy before anything is made for it.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/catalog/gpu_types.h"
#include "common/catalog/presets.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

struct ValidationOptions {
  std::string cloud_provider = "azure";
  bool nodes_are_provisioned = true;
  // Architectures that the model server runs; empty: all.
  std::vector<std::string> served_architectures;
};

struct ValidationResult {
  std::vector<std::string> errors;  // "field.path: message", sorted.
  std::vector<std::string> warnings;

  bool ok() const { return errors.empty(); }
  std::string ErrorText() const;  // Joined by "; ".
  std::string WarningText() const;
};

// What the object and the catalogue decide. Reads nothing else, and reports all errors at once.
ValidationResult Validate(const Workspace& workspace, const catalog::Presets& presets,
                          const catalog::GpuTypes& types, const ValidationOptions& options);

}  // namespace workspace_controller
