# What packer builds, and from what. `fearless` gives the variables; a variable that is not
# declared here is left out with a warning, so change and add to this file as you like.

variable "name" {
  type        = string
  description = "The machine image's name, which no other has: <app>-<sha>-<inputs>-<bake>."
}

variable "region" {
  type = string
}

variable "source_ami" {
  type        = string
  description = "A Debian 12 or Amazon Linux 2023 machine image, by id: names move, ids do not."
}

variable "ssh_user" {
  type        = string
  default     = "admin"
  description = "Who logs in while baking: admin on Debian, ec2-user on Amazon Linux."
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "root_device" {
  type        = string
  default     = "/dev/xvda"
  description = "The root device of the source machine image."
}

variable "volume_size" {
  type        = number
  default     = 16
  description = "The size of the machine's disk in GB."
}

variable "subnet" {
  type        = string
  default     = null
  description = "Where the machine that bakes runs; null: the default subnet."
}

variable "security_group" {
  type        = string
  description = "Lets packer, and nobody else, reach that machine by SSH."
}

variable "key_pair" {
  type        = string
  description = "The name of the key pair for this bake alone."
}

variable "key_file" {
  type        = string
  description = "The file with its private key."
}

variable "endpoint" {
  type        = string
  default     = ""
  description = "The EC2 endpoint when it is not AWS's own. Then ssh_host must be given, too."
}

variable "ssh_host" {
  type        = string
  default     = null
  description = "The only address packer may dial, for endpoints that invent addresses."
}

variable "ssh_port" {
  type    = number
  default = 22
}

variable "tags" {
  type        = map(string)
  description = "How the machine image and its snapshots are found again."
}

variable "temporary_tags" {
  type        = map(string)
  description = "How the machine that bakes is found when it was left behind."
}

variable "archives" {
  type        = string
  description = "A folder called images, with each of them as docker save writes it."
}

variable "images" {
  type        = list(string)
  description = "The ids (sha256:...) of all of them, which survive docker load."
}

variable "image" {
  type        = string
  description = "The id of the one to run."
}

variable "processes" {
  type        = list(string)
  default     = ["web"]
  description = "The process types of the release, each a systemd unit fearless@<process>."
}

variable "log_driver" {
  type        = string
  default     = "awslogs"
  description = "Where the application's output goes: awslogs or journald."
}

variable "manifest" {
  type        = string
  default     = "manifest.json"
  description = "Where packer writes what it made."
}

source "amazon-ebs" "app" {
  ami_name             = var.name
  region               = var.region
  source_ami           = var.source_ami
  instance_type        = var.instance_type
  subnet_id            = var.subnet
  security_group_id    = var.security_group
  ssh_username         = var.ssh_user
  ssh_keypair_name     = var.key_pair
  ssh_private_key_file = var.key_file
  ssh_timeout          = "10m"

  launch_block_device_mappings {
    device_name           = var.root_device
    volume_size           = var.volume_size
    volume_type           = "gp2"
    encrypted             = true
    delete_on_termination = true
  }

  custom_endpoint_ec2        = var.endpoint == "" ? null : var.endpoint
  skip_region_validation     = var.endpoint != ""
  skip_metadata_api_check    = var.endpoint != ""
  skip_credential_validation = var.endpoint != ""
  ssh_host                   = var.ssh_host
  ssh_port                   = var.ssh_port

  tags            = var.tags
  snapshot_tags   = var.tags
  run_tags        = var.temporary_tags
  run_volume_tags = var.temporary_tags
}

build {
  sources = ["source.amazon-ebs.app"]

  provisioner "shell" {
    inline = ["mkdir -p /var/tmp/fearless"]
  }

  provisioner "file" {
    source      = "${path.root}/machine"
    destination = "/var/tmp/fearless"
  }

  provisioner "file" {
    source      = var.archives
    destination = "/var/tmp/fearless"
  }

  provisioner "shell" {
    script = "${path.root}/provision.sh"
    environment_vars = [
      "IMAGE=${var.image}",
      "IMAGES=${join(" ", var.images)}",
      "PROCESSES=${join(" ", var.processes)}",
      "LOG_DRIVER=${var.log_driver}",
    ]
    execute_command = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
  }

  post-processor "manifest" {
    output     = var.manifest
    strip_path = true
  }
}
