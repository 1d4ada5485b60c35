variable "app" {
  type        = string
  description = "The app's name, as in release.toml."
}

variable "sha" {
  type        = string
  description = "The full git SHA the images were built from."
}

variable "inputs" {
  type        = string
  description = "The hash of everything the machine image is made of; equal inputs, equal image."
}

variable "region" {
  type = string
}

variable "source_ami" {
  type        = string
  description = "A Debian 12 or Amazon Linux 2023 machine image, by id: names move, ids do not."
}

variable "source_user" {
  type        = string
  default     = "admin"
  description = "Who logs in while baking: admin on Debian, ec2-user on Amazon Linux."
}

variable "images" {
  type        = string
  description = "The archive of all container images, as docker save writes it."
}

variable "image" {
  type        = string
  description = "The id (sha256:...) of the image to run, which survives docker load."
}

source "amazon-ebs" "app" {
  ami_name      = "${var.app}-${substr(var.sha, 0, 12)}-${substr(var.inputs, 0, 12)}"
  region        = var.region
  source_ami    = var.source_ami
  instance_type = "t3.small"
  ssh_username  = var.source_user
  encrypt_boot  = true

  tags = {
    Name              = "${var.app}-${substr(var.sha, 0, 12)}"
    "fearless:app"    = var.app
    "fearless:sha"    = var.sha
    "fearless:inputs" = var.inputs
  }
}

build {
  sources = ["source.amazon-ebs.app"]

  provisioner "file" {
    source      = var.images
    destination = "/tmp/images.tar"
  }

  provisioner "file" {
    source      = "${path.root}/fearless-web.service"
    destination = "/tmp/fearless-web.service"
  }

  provisioner "shell" {
    script           = "${path.root}/provision.sh"
    environment_vars = ["IMAGE=${var.image}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
  }

  post-processor "manifest" {
    output     = "manifest.json"
    strip_path = true
  }
}
