# Access lines, from the Broadband (formerly ADSL) Forum's own enterprise number.
# Source: RFC 4679 §3; Broadband Forum TR-111 (what a gateway told about its device by DHCP).

VENDOR ADSL-Forum 3561
BEGIN-VENDOR ADSL-Forum
# where the line is
ATTRIBUTE ADSL-Agent-Circuit-Id                  1        octets
ATTRIBUTE ADSL-Agent-Remote-Id                   2        octets
ATTRIBUTE Access-Loop-Encapsulation              144      octets
ATTRIBUTE IWF-Session                            254      octets

# rates, bits per second
ATTRIBUTE Actual-Data-Rate-Upstream              129      integer
ATTRIBUTE Actual-Data-Rate-Downstream            130      integer
ATTRIBUTE Minimum-Data-Rate-Upstream             131      integer
ATTRIBUTE Minimum-Data-Rate-Downstream           132      integer
ATTRIBUTE Attainable-Data-Rate-Upstream          133      integer
ATTRIBUTE Attainable-Data-Rate-Downstream        134      integer
ATTRIBUTE Maximum-Data-Rate-Upstream             135      integer
ATTRIBUTE Maximum-Data-Rate-Downstream           136      integer
ATTRIBUTE Minimum-Data-Rate-Upstream-Low-Power   137      integer
ATTRIBUTE Minimum-Data-Rate-Downstream-Low-Power 138      integer

# delays, milliseconds
ATTRIBUTE Maximum-Interleaving-Delay-Upstream    139      integer
ATTRIBUTE Actual-Interleaving-Delay-Upstream     140      integer
ATTRIBUTE Maximum-Interleaving-Delay-Downstream  141      integer
ATTRIBUTE Actual-Interleaving-Delay-Downstream   142      integer

# DHCP options that travel on
ATTRIBUTE ADSL-Forum-DHCP-Vendor-Specific        255      tlv
ATTRIBUTE ADSL-Forum-Device-Manufacturer-OUI     255.1    octets
ATTRIBUTE ADSL-Forum-Device-Serial-Number        255.2    string
ATTRIBUTE ADSL-Forum-Device-Product-Class        255.3    string
ATTRIBUTE ADSL-Forum-Gateway-Manufacturer-OUI    255.4    octets
END-VENDOR ADSL-Forum
