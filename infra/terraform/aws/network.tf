# A network of its own: one public subnet, so that no NAT gateway has to be paid, and no way in.
resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11: one machine that no port leads to; flow logs would cost more than it does
  cidr_block           = "10.40.0.0/24"
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  #checkov:skip=CKV_AWS_130: a public address costs less than a NAT gateway, and no port is open on it
  vpc_id                  = aws_vpc.this.id
  cidr_block              = "10.40.0.0/25"
  map_public_ip_on_launch = true
  # The instance type must exist there, and a data volume lives in one zone.
  availability_zone = data.aws_ec2_instance_type_offerings.zones.locations[0]

  tags = { Name = var.name }
}

data "aws_ec2_instance_type_offerings" "zones" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_route" "out" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

# Traffic to the bucket stays in AWS's network and costs nothing.
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.this.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.public.id]
}

resource "aws_security_group" "collector" {
  #checkov:skip=CKV2_AWS_5: attached to the instance, and to the batch job where there is one
  name        = var.name
  description = "Out to exchanges and AWS; in only what ssh_from names"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.collector.id
  description       = "Exchanges and AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "binance_spot" {
  security_group_id = aws_security_group.collector.id
  description       = "Websockets of Binance spot"
  ip_protocol       = "tcp"
  from_port         = 9443
  to_port           = 9443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.ssh_from)

  security_group_id = aws_security_group.collector.id
  description       = "SSH"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = each.value
}
